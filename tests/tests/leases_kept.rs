//! Leases outlive the agent's own restarts and new configurations, and are given back when they should be.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use keywheel_tests::{Accounts, Launch, Signal, wait};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn fifty_kills_during_one_lease_mint_nothing() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let (config, mark) = (with_state(&accounts, "creds/app"), accounts.stage.bao.mark());
    let agent = accounts.start(&config);
    let user = accounts.user();
    agent.process().kill();
    let probe = accounts.probe();
    for kill in 0..50 {
        let agent = Launch::agent(&config).start();
        if kill % 2 == 0 {
            agent.wait_ready(BOUND);
        } else {
            thread::sleep(random(Duration::from_millis(150)));
        }
        agent.process().kill();
    }
    let agent = accounts.start(&config);
    wait::until(BOUND, "the lease to be looked at", || {
        (accounts.stage.bao.count_since(mark, "sys/leases/lookup") > 0).then_some(())
    });
    let seen = probe.finish();
    let count = |prefix| accounts.stage.bao.count_since(mark, prefix);
    let (minted, logins) = (count("database/creds/app"), count("auth/jwt/login"));
    eprintln!("51 kills: {minted} credentials, {logins} logins, {:?}", accounts.made());
    assert_eq!((accounts.user(), accounts.made()), (user.clone(), vec![user]));
    assert_eq!((minted, logins, seen.failed), (1, 1, 0));
    assert_eq!(agent.logged("delivered").len(), 0, "what was there before is right");
}

#[test]
fn the_state_is_private_and_one_agents_own() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let config = with_state(&accounts, "creds/app");
    let _agent = accounts.start(&config);
    let state = state(&accounts);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<PathBuf> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    let second = Launch::agent(&config).output();
    assert_eq!(second.code, Some(64), "{}", second.stderr);
    assert!(second.stderr.contains("in use by another process"), "{}", second.stderr);
}

#[test]
fn a_state_that_is_spoiled_is_left_out() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let (config, mark) = (with_state(&accounts, "creds/app"), accounts.stage.bao.mark());
    accounts.start(&config).process().kill();
    for file in fs::read_dir(state(&accounts)).unwrap() {
        fs::write(file.unwrap().path(), b"{\"format\": 1, \"spoiled").unwrap();
    }
    let _agent = accounts.start(&config);
    assert_eq!(accounts.stage.bao.count_since(mark, "database/creds/app"), 2);
}

#[test]
fn another_configuration_keeps_the_lease_and_gives_back_what_it_does_not_name() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    accounts.stage.bao.kv_put("secret", "orders/db", &json!({"password": "one"}));
    let mark = accounts.stage.bao.mark();
    let config = accounts.configuration("creds/app", "30s", "");
    let agent = accounts.start(&config);
    let user = accounts.user();
    assert_eq!(agent.logged(NO_STATE).len(), 1);

    let more = config.replace("    files:", "      db: \"vault://secret/orders/db\"\n    files:");
    agent.rewrite_config(&with_admin(&agent, &more));
    agent.process().signal(Signal::HUP);
    wait::until(BOUND, "the new configuration", || {
        (agent.status()["deliveries"][0]["secrets"].as_array()?.len() == 2).then_some(())
    });
    agent.wait_ready(BOUND);
    let count = |prefix| accounts.stage.bao.count_since(mark, prefix);
    assert_eq!((accounts.user(), count("database/creds/app"), count("auth/jwt/login")), (user, 1, 1));

    let without = accounts.stage.configuration("    secrets: {db: \"vault://secret/orders/db\"}\n");
    agent.rewrite_config(&with_admin(&agent, &without));
    agent.process().signal(Signal::HUP);
    wait::until(BOUND, "the credential to be given back", || accounts.made().is_empty().then_some(()));
    assert_eq!(count("auth/token/revoke-self"), 0, "the login goes on");
    assert_eq!(agent.terminate(BOUND), Some(0));
}

#[test]
fn the_end_gives_everything_back_unless_it_is_told_otherwise() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let config = with_state(&accounts, "creds/app");
    let agent = accounts.start(&config);
    assert_eq!(agent.terminate(BOUND), Some(0));
    wait::until(BOUND, "the credential to be given back", || accounts.made().is_empty().then_some(()));
    assert_eq!(accounts.stage.bao.leases("database/creds/app"), [""; 0]);
    assert_eq!(fs::read_dir(state(&accounts)).unwrap().count(), 0);

    let keeping = format!("revoke_on_shutdown: false\n{config}");
    let mark = accounts.stage.bao.mark();
    let agent = accounts.start(&keeping);
    let user = accounts.user();
    assert_eq!(agent.terminate(BOUND), Some(0));
    assert_eq!(accounts.made(), [user.as_str()]);
    let agent = accounts.start(&keeping);
    assert_eq!((accounts.user(), accounts.stage.bao.count_since(mark, "database/creds/app")), (user, 1));
    drop(agent);
}

#[test]
fn a_given_token_stays_and_its_leases_go() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let token = accounts.stage.bao.token(&json!({"policies": ["orders", "default"], "ttl": "1h"}));
    let file = accounts.stage.pod().join("vault-token");
    fs::write(&file, &token.token).unwrap();
    let config = accounts.configuration("creds/app", "30s", "");
    let at = config.find("auth: {").unwrap();
    let end = at + config[at..].find('}').unwrap() + 1;
    let given = format!("auth: {{method: token, token_file: {}}}", file.display());
    let agent = accounts.start(&config.replace(&config[at..end], &given));
    assert_eq!(accounts.made().len(), 1);
    assert_eq!(agent.terminate(BOUND), Some(0));
    wait::until(BOUND, "the credential to be given back", || accounts.made().is_empty().then_some(()));
    accounts.stage.bao.write("auth/token/lookup-accessor", &json!({"accessor": token.accessor}));
}

#[test]
fn an_init_container_hands_its_lease_to_the_sidecar() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let (config, mark) = (with_state(&accounts, "creds/app"), accounts.stage.bao.mark());
    let once = Launch::agent(&config).arg("--once").output();
    assert_eq!(once.code, Some(0), "{}", once.stderr);
    let user = accounts.user();
    assert_eq!(accounts.made(), [user.as_str()], "the application begins with it");
    let again = Launch::agent(&config).arg("--once").output();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let agent = accounts.start(&config);
    let count = |prefix| accounts.stage.bao.count_since(mark, prefix);
    assert_eq!((accounts.user(), count("database/creds/app"), count("auth/jwt/login")), (user, 1, 1));
    assert_eq!(agent.logged(NO_STATE).len(), 0);
}

#[test]
fn no_log_holds_a_credential_or_a_token() {
    let accounts = Accounts::set(6 * SECOND, 20 * SECOND);
    let config = with_state(&accounts, "creds/app").replace("refresh: 30s", "refresh: 1s");
    let loud = || {
        let agent = Launch::agent(&config).env("KEYWHEEL_LOG", "trace").start();
        agent.wait_ready(BOUND);
        agent
    };
    let mut secrets = Vec::new();
    let mut learn = || {
        let account = fs::read_to_string(accounts.file()).unwrap();
        secrets.push(account.split_once(':').unwrap().1.to_owned());
        let session = fs::read(state(&accounts).join("session.vault")).unwrap();
        let session: serde_json::Value = serde_json::from_slice(&session).unwrap();
        secrets.push(session["tokens"][0]["token"].as_str().unwrap().to_owned());
    };
    let first = loud();
    learn();
    let user = accounts.user();
    wait::until(BOUND, "a replacement", || (accounts.user() != user).then_some(()));
    learn();
    first.process().kill();
    let second = loud();
    learn();
    // One of them is that of the credential on disk; others may be on their way out.
    accounts
        .stage
        .bao
        .leases("database/creds/app")
        .iter()
        .for_each(|lease| accounts.stage.bao.revoke_lease(lease));
    wait::until(BOUND, "the loss to be noticed", || {
        (!second.logged("the lease has ended before its time; a new value is asked for").is_empty())
            .then_some(())
    });
    learn();
    assert_eq!(second.terminate(BOUND), Some(0));
    for log in [first.logs(), second.logs()] {
        assert!(
            log.contains("renewed the token") || log.contains("asked"),
            "the log is not at its lowest level"
        );
        assert!(secrets.iter().all(|secret| !log.contains(secret)), "a log holds a credential or a token");
    }
}

#[test]
fn a_fetched_credential_lives_on_and_a_dry_run_leaves_none() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let config = accounts.configuration("creds/app", "30s", "");
    let planned = Launch::new("render").config(&config).arg("--dry-run").output();
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    assert!(planned.stdout.contains("account"), "{}", planned.stdout);
    wait::until(BOUND, "the credential to be given back", || accounts.made().is_empty().then_some(()));

    let got = Launch::new("get")
        .config(&config)
        .arg("vault://database/creds/app")
        .args(["--format", "json"])
        .output();
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let got: serde_json::Value = serde_json::from_str(&got.stdout).unwrap();
    let (user, password) = (got["username"].as_str().unwrap(), got["password"].as_str().unwrap());
    accounts.postgres.login(user, password, BOUND).unwrap();
}

const NO_STATE: &str = "no `state_directory` is set: if this process is killed, nobody renews its leases, and the next one asks for new credentials";

fn state(accounts: &Accounts) -> PathBuf {
    accounts.stage.volume.path().join("state")
}

fn with_state(accounts: &Accounts, path: &str) -> String {
    let config = accounts.configuration(path, "30s", "");
    format!("state_directory: {}\n{config}", state(accounts).display())
}

/// The admin endpoint that the test support chose stays where it is.
fn with_admin(agent: &keywheel_tests::Keywheel, config: &str) -> String {
    let listen = agent.admin_address().trim_start_matches("http://");
    format!("{config}\nadmin: {{listen: \"{listen}\"}}\n")
}

fn random(most: Duration) -> Duration {
    #[allow(clippy::cast_precision_loss, reason = "a random part of a span")]
    let part = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    most.mul_f64(part)
}
