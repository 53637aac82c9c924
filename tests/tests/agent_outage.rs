//! The server is away, hangs, refuses, is sealed, asks for patience, or has lost the secret: the files stay, nothing runs hot, and
//! the next value arrives without a restart.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use keywheel_tests::openbao::Mark;
use keywheel_tests::{Fault, Faults, Keywheel, Launch, Snapshot, Stage, generation, stage, wait};
use serde_json::{Value, json};

/// The long ones at once: together they take as long as the longest.
#[test]
fn an_outage_changes_nothing_and_runs_nothing_hot() {
    thread::scope(|scope| {
        scope.spawn(the_server_is_stopped);
        scope.spawn(the_server_hangs);
        scope.spawn(everything_is_forbidden_for_long);
        scope.spawn(everything_is_forbidden_for_a_while);
    });
}

fn the_server_is_stopped() {
    let mut scene = Scene::play();
    let since = wait::monotonic();
    scene.stage.bao.stop();
    scene.holds_for(since, TWENTY_SECONDS, &["refused", "broke"]);
    scene.assert_attempts_at_most(10);
    scene.stage.bao.start_again();
    scene.recovers(LONGEST_WAIT, "stopped");
}

fn the_server_hangs() {
    let scene = Scene::play();
    let since = wait::monotonic();
    scene.stage.bao.pause();
    scene.holds_for(since, TWENTY_SECONDS, &["did not answer within 2s"]);
    scene.assert_attempts_at_most(8);
    scene.stage.bao.resume();
    scene.recovers(LONGEST_WAIT, "hung");
}

fn everything_is_forbidden_for_long() {
    let scene = Scene::play();
    let since = wait::monotonic();
    scene.stage.forbid();
    let mark = scene.stage.bao.mark();
    scene.holds_for(since, Duration::from_secs(30), &["403"]);
    // Two agents, each with a handful of attempts of one or two requests, and a login now and then.
    scene.assert_requests_at_most(mark, 60, "30 s of 403");
}

fn everything_is_forbidden_for_a_while() {
    let scene = Scene::play();
    let since = wait::monotonic();
    scene.stage.forbid();
    scene.holds_for(since, Duration::from_secs(10), &["403"]);
    scene.stage.allow();
    scene.recovers(LONGEST_WAIT, "403");
}

#[test]
fn a_sealed_server_changes_nothing() {
    let scene = Scene::play();
    let since = wait::monotonic();
    scene.stage.bao.seal();
    scene.holds_for(since, Duration::from_secs(8), &["sealed"]);
    scene.assert_attempts_at_most(7);
    scene.stage.bao.unseal();
    scene.recovers(LONGEST_WAIT, "sealed");
}

#[test]
fn a_deleted_version_changes_nothing() {
    let scene = Scene::play();
    let mark = scene.stage.bao.mark();
    let since = wait::monotonic();
    scene.stage.bao.kv_delete("secret", "orders/db");
    scene.holds_for(since, Duration::from_secs(8), &["deleted"]);
    scene.assert_requests_at_most(mark, 30, "8 s of a deleted version");
    scene.recovers(LONGEST_WAIT, "deleted");
}

#[test]
fn a_quota_is_left_alone_for_as_long_as_it_asks() {
    const PATIENCE: u32 = 3;
    let stage = Stage::set();
    let faults = Faults::before(&stage.bao.plain_address());
    let scene = Scene::play_on(stage, Some(faults));
    let faults = scene.faults.as_ref().unwrap();
    let since = wait::monotonic();
    faults.show(Fault::TooManyRequests { retry_after: PATIENCE });
    let before = faults.count();
    scene.holds_for(since, Duration::from_secs(9), &["429"]);
    let mut refused = faults.arrived().split_off(before);
    let token = |request: &keywheel_tests::faults::Arrived| request.headers["x-vault-token"].clone();
    eprintln!("{} requests by two agents in 9 s of 429 with Retry-After: 3", refused.len());
    assert!(refused.len() >= 2, "nobody asked");
    // By agent: each has a login, and so a token, of its own.
    refused.sort_by_key(|request| (token(request), request.at));
    for pair in refused.windows(2).filter(|pair| token(&pair[0]) == token(&pair[1])) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap >= Duration::from_secs(PATIENCE.into()), "asked again after {gap:?}: {pair:?}");
    }
    faults.heal();
    scene.recovers(LONGEST_WAIT, "429");
}

/// A server and two agents that deliver one secret: one is patient, and one has a `max_stale`.
struct Scene {
    patient: Agent,
    strict: Agent,
    faults: Option<Faults>,
    stage: Stage,
}

struct Agent {
    keywheel: Keywheel,
    directory: PathBuf,
    before: Snapshot,
}

impl Scene {
    fn play() -> Self {
        Self::play_on(Stage::set(), None)
    }

    fn play_on(stage: Stage, faults: Option<Faults>) -> Self {
        put(&stage, 1);
        let auth = format!("{{method: jwt, role: orders, token_file: {}}}", stage.token_file().display());
        let server = match &faults {
            Some(faults) => format!("address: \"{}\"", faults.address()),
            None => {
                format!("address: \"{}\", ca_file: {}", stage.bao.address(), stage.bao.ca_file().display())
            }
        };
        let vault =
            format!("{server}, timeout: 2s, budget: {{requests_per_second: 5, burst: 20}}, auth: {auth}");
        let agent = |name: &str, more: &str| {
            let directory = stage.volume.path().join(name);
            let delivery = format!(
                "    secrets:\n      db: {{ref: \"vault://secret/orders/db\", refresh: 500ms{more}}}\n    files:\n      - {{path: db-password, value: \"{{{{ db.password }}}}\", mode: \"0440\"}}\n      - {{path: conf/copy, value: \"{{{{ db.password }}}}\"}}\n"
            );
            let keywheel = Launch::agent(&stage::configuration(&vault, &directory, &delivery)).start();
            keywheel.wait_ready(Duration::from_secs(20));
            Agent { keywheel, before: Snapshot::of(&directory), directory }
        };
        Self { patient: agent("patient", ""), strict: agent("strict", ", max_stale: 2s"), faults, stage }
    }

    /// Sees for `span` that no file is touched, that the patient agent is ready, and that the strict one says why it is not.
    ///
    /// The outage began at `since`, or a little later: a server takes its time to be sealed.
    fn holds_for(&self, since: Duration, span: Duration, reasons: &[&str]) {
        let mut asked_at = since;
        let mut stale_at = None;
        wait::throughout(span, "the files stay and readiness is right", || {
            let touched = [&self.patient, &self.strict]
                .iter()
                .any(|agent| Snapshot::of(&agent.directory) != agent.before);
            let now = wait::monotonic();
            if now - asked_at < Duration::from_millis(250) {
                return !touched;
            }
            asked_at = now;
            let strict = self.strict.keywheel.admin("/readyz").unwrap();
            match strict.status {
                503 => {
                    assert!(strict.text().contains("db is stale since"), "{}", strict.text());
                    stale_at.get_or_insert(now - since);
                }
                200 => assert_eq!(stale_at, None, "ready again in the middle of an outage"),
                status => panic!("status {status}"),
            }
            !touched && self.patient.keywheel.admin("/readyz").unwrap().status == 200
        });
        let stale_at = stale_at.expect("the strict agent to notice");
        // `max_stale` counts from the last good answer, which was at most half a second before.
        assert!(
            stale_at > Duration::from_millis(1200) && stale_at < Duration::from_secs(5),
            "stale after {stale_at:?}"
        );
        for agent in [&self.patient, &self.strict] {
            let error = agent.secret()["error"].as_str().unwrap_or_default().to_owned();
            assert!(reasons.iter().any(|reason| error.contains(reason)), "{error}");
            assert!(error.contains("vault://secret/orders/db"), "{error}");
        }
    }

    fn assert_attempts_at_most(&self, most: u64) {
        for agent in [&self.patient, &self.strict] {
            let failures = agent.secret()["failures"].as_u64().unwrap();
            assert!((1..=most).contains(&failures), "{failures} attempts");
        }
    }

    fn assert_requests_at_most(&self, mark: Mark, most: usize, what: &str) {
        let requests = self.stage.bao.requests_since(mark);
        eprintln!("{} requests by two agents in {what}", requests.len());
        let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
        assert!((2..=most).contains(&paths.len()), "{} requests: {paths:?}", paths.len());
    }

    /// Writes a new value and sees it arrive at both.
    fn recovers(&self, bound: Duration, what: &str) {
        put(&self.stage, 2);
        let begun = wait::monotonic();
        for agent in [&self.patient, &self.strict] {
            let left = bound.saturating_sub(wait::monotonic() - begun);
            wait::until(left, "the new value", || {
                let content = fs::read(agent.directory.join("db-password")).unwrap();
                (generation::read(&content).unwrap() == 2).then_some(())
            });
            agent.keywheel.wait_ready(Duration::from_secs(1));
            assert_eq!(agent.keywheel.logged("the secret can be read again").len(), 1);
            assert!(agent.keywheel.process().cpu_time() < Duration::from_secs(4));
        }
        let attempts = self.patient.keywheel.logged("the secret can be read again")[0]["failures"].clone();
        eprintln!(
            "{what}: {attempts} failed attempts; both recovered within {:?}",
            wait::monotonic() - begun
        );
    }
}

impl Agent {
    fn secret(&self) -> Value {
        self.keywheel.status()["deliveries"][0]["secrets"][0].clone()
    }
}

fn put(stage: &Stage, generation: u64) {
    stage.bao.kv_put("secret", "orders/db", &json!({"password": generation::value(generation, 3000)}));
}

const TWENTY_SECONDS: Duration = Duration::from_secs(20);
/// The longest wait between two attempts is 30 s (`schedule::LONGEST_TEMPORARY`), and a login may have to come first.
const LONGEST_WAIT: Duration = Duration::from_secs(35);
