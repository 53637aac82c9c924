//! Somebody interferes with the agent's credential: revokes its login or its lease, takes its policy away, shortens the lease, stops or seals the
//! server. The file is right again without a restart, the old credential serves as long as it is valid, and nothing runs hot.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::thread;
use std::time::Duration;

use keywheel_tests::openbao::{Mark, Token};
use keywheel_tests::{Accounts, Keywheel, Probe, Sightings, soak, wait};

const SECOND: Duration = Duration::from_secs(1);

/// The long ones at once: together they take as long as the longest.
#[test]
fn the_server_is_away_and_comes_back() {
    thread::scope(|scope| {
        scope.spawn(the_server_is_restarted);
        scope.spawn(the_server_is_sealed);
    });
}

fn the_server_is_restarted() {
    let mut scene = Scene::play(40 * SECOND, 3600 * SECOND);
    scene.accounts.stage.bao.stop();
    scene.holds_for(8 * SECOND);
    scene.accounts.stage.bao.start_again();
    scene.holds_for(15 * SECOND);
    let seen = scene.finish("the server was away for 8 s", 100);
    assert_eq!((seen.failed, seen.users.len()), (0, 1), "{:?}", seen.windows);
}

fn the_server_is_sealed() {
    let scene = Scene::play(40 * SECOND, 3600 * SECOND);
    scene.accounts.stage.bao.seal();
    scene.holds_for(8 * SECOND);
    scene.accounts.stage.bao.unseal();
    scene.holds_for(15 * SECOND);
    let seen = scene.finish("the server was sealed for 8 s", 100);
    assert_eq!((seen.failed, seen.users.len()), (0, 1), "{:?}", seen.windows);
}

#[test]
fn a_login_that_is_revoked_is_replaced_with_its_credential() {
    let scene = Scene::play(60 * SECOND, 3600 * SECOND);
    let old = scene.accounts.user();
    let mark = scene.accounts.stage.bao.mark();
    scene.accounts.stage.bao.revoke(&scene.login());
    wait::until(5 * SECOND, "another credential", || (scene.accounts.user() != old).then_some(()));
    scene.holds_for(5 * SECOND);
    let count = |prefix| scene.accounts.stage.bao.count_since(mark, prefix);
    assert_eq!((count("auth/jwt/login"), count("database/creds/app")), (1, 1));
    let seen = scene.finish("the login was revoked", 100);
    // The lease went with the login: until the agent looks, which it does every second, the file is wrong.
    assert!(seen.longest_gap() < 3 * SECOND, "{seen:?}");
}

#[test]
fn a_lease_that_is_revoked_is_replaced() {
    let scene = Scene::play(60 * SECOND, 3600 * SECOND);
    let old = scene.accounts.user();
    scene.accounts.stage.bao.revoke_lease(&scene.lease());
    wait::until(5 * SECOND, "another credential", || (scene.accounts.user() != old).then_some(()));
    let seen = scene.finish("the lease was revoked", 60);
    assert!(seen.longest_gap() < 3 * SECOND, "{seen:?}");
}

#[test]
fn a_lease_that_is_shortened_is_extended_before_it_ends() {
    let scene = Scene::play(60 * SECOND, 3600 * SECOND);
    let lease = scene.lease();
    for _ in 0..3 {
        scene.accounts.stage.bao.shorten_lease(&lease, 4 * SECOND);
        wait::until(5 * SECOND, "the lease to be long again", || {
            let ttl = scene.accounts.stage.bao.lease(&lease)?["ttl"].as_u64()?;
            (ttl > 50).then_some(())
        });
    }
    scene.holds_for(5 * SECOND);
    let seen = scene.finish("the lease was shortened three times", 100);
    assert_eq!((seen.failed, seen.users.len()), (0, 1), "{:?}", seen.windows);
}

#[test]
fn a_policy_that_is_taken_away_costs_no_more_than_the_credential() {
    // Renewals are allowed by `default`; a new credential is needed every 20 s, and is forbidden meanwhile.
    let scene = Scene::play(6 * SECOND, 20 * SECOND);
    let forbidden = soak::span(25 * SECOND, 60 * SECOND);
    let mark = scene.accounts.stage.bao.mark();
    scene.accounts.stage.forbid();
    scene.holds_for(forbidden);
    let readiness = scene.agent.admin("/readyz").unwrap();
    assert!(
        readiness.status == 503 && readiness.text().contains("account has ended at"),
        "{}",
        readiness.text()
    );
    let requests = scene.accounts.stage.bao.requests_since(mark);
    let minting = requests.iter().filter(|request| request.path == "database/creds/app").count();
    let logins = requests.iter().filter(|request| request.path == "auth/jwt/login").count();
    eprintln!("{} requests in {forbidden:?}, {minting} of them to mint, {logins} logins", requests.len());
    assert!(minting <= 15 && logins <= 6, "{minting} and {logins}");
    scene.accounts.stage.allow();
    let old = scene.accounts.user();
    wait::until(65 * SECOND, "a credential that is valid", || (scene.accounts.user() != old).then_some(()));
    scene.holds_for(5 * SECOND);
    let seen = scene.finish("the policy was away", 400);
    eprintln!("no valid credential for {:?}", seen.longest_gap());
}

/// An agent that looks at its lease every second, and a probe.
struct Scene {
    accounts: Accounts,
    agent: Keywheel,
    probe: Probe,
    mark: Mark,
}

impl Scene {
    fn play(ttl: Duration, max_ttl: Duration) -> Self {
        let accounts = Accounts::set(ttl, max_ttl);
        let mark = accounts.stage.bao.mark();
        let agent = accounts.start(&accounts.configuration("creds/app", "1s", ""));
        let probe = accounts.probe();
        Self { accounts, agent, probe, mark }
    }

    /// Returns the token that the agent logged in for.
    fn login(&self) -> Token {
        let requests = self.accounts.stage.bao.requests_since(self.mark);
        let minted = requests.iter().find(|request| request.path == "database/creds/app").unwrap();
        Token { token: String::new(), accessor: minted.accessor.clone().unwrap() }
    }

    fn lease(&self) -> String {
        self.accounts.stage.bao.leases("database/creds/app").remove(0)
    }

    fn holds_for(&self, span: Duration) {
        wait::throughout(span, "the agent to run and the file to be there", || {
            self.agent.process().ended().is_none() && self.accounts.file().exists()
        });
    }

    /// Ends the probe; the agent must have sent at most so many requests.
    fn finish(self, what: &str, most: usize) -> Sightings {
        let seen = self.probe.finish();
        let requests = self.accounts.stage.bao.requests_since(self.mark);
        eprintln!(
            "{what}: {} probes, {} failed, longest gap {:?}, {} credentials, {} requests",
            seen.probes,
            seen.failed,
            seen.longest_gap(),
            seen.users.len(),
            requests.len()
        );
        let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
        assert!(paths.len() <= most, "{} requests: {paths:?}", paths.len());
        assert!(self.agent.process().cpu_time() < 4 * SECOND);
        seen
    }
}
