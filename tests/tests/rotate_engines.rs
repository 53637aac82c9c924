//! `keywheel rotate` of what the server's engines replace themselves: each is replaced once for each time it is asked, whatever happens to the rotator.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::engines::{Engines, Rotated};
use keywheel_tests::{Fault, Faults, Launch, kills, soak};

const SECOND: Duration = Duration::from_secs(1);

fn done(stage: &Engines, configuration: &str, arguments: &[&str]) -> String {
    let done = stage.rotate(configuration, arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    format!("{}{}", done.stdout, done.stderr)
}

#[test]
fn a_static_role_gets_another_password_and_its_own_rotations_count() {
    let stage = Engines::set();
    let configuration = stage.configuration(Rotated::Role, "");
    let first = stage.password();
    let text = done(&stage, &configuration, &["--now"]);
    let second = stage.password();
    assert_ne!(first, second);
    assert!(stage.postgres.login("orders", &second, SECOND).is_ok());
    assert!(stage.postgres.login("orders", &first, SECOND).is_err());
    assert!(
        text.contains("keywheel::audit") && text.contains("vault://database/static-roles/orders"),
        "{text}"
    );
    assert!(!text.contains(&second));
    let status = stage.status(&configuration);
    let said = stage.bao.read("database/static-roles/orders").unwrap();
    assert_eq!(
        (&status["phase"], &status["version"]),
        (&"idle".into(), &said["data"]["last_vault_rotation"])
    );

    let text = done(&stage, &configuration, &[]);
    assert!(text.contains("nothing to do") && stage.password() == second, "{text}");
    stage.bao.rotate_static_role("orders");
    let later = stage.status(&configuration);
    assert!(later["replaced_at"].as_str() > status["replaced_at"].as_str(), "{later} {status}");
    let back = stage.rotate(&configuration, &["rollback", "orders"]);
    assert!(back.code == Some(1) && back.stderr.contains("no way back"), "{}", back.stderr);
}

#[test]
fn the_engine_itself_gets_another_password_and_goes_on() {
    let stage = Engines::set();
    let configuration = stage.configuration(Rotated::Connection, "");
    done(&stage, &configuration, &["--now"]);
    assert!(stage.postgres.login("engine", "engine", SECOND).is_err());
    let first = stage.password();
    stage.bao.rotate_static_role("orders");
    assert!(stage.password() != first && stage.postgres.login("orders", &stage.password(), SECOND).is_ok());
    let text = done(&stage, &configuration, &[]);
    assert!(text.contains("nothing to do"), "{text}");
}

#[test]
fn a_key_gets_another_version_and_old_ones_go_after_the_overlap() {
    let stage = Engines::set();
    let configuration = stage.configuration(Rotated::Key, "1s");
    for (newest, oldest) in [(2, 1), (3, 2), (4, 3)] {
        let text = done(&stage, &configuration, &["--now", "--no-wait"]);
        assert!(text.contains(&format!("rotated, version {newest}")), "{text}");
        assert_eq!(stage.versions().0, newest);
        done(&stage, &configuration, &[]);
        assert_eq!(stage.versions(), (newest, oldest));
    }
}

#[test]
fn a_version_that_somebody_else_made_takes_no_time_from_the_one_before() {
    let stage = Engines::set();
    let configuration = stage.configuration(Rotated::Key, "1s");
    done(&stage, &configuration, &["--now"]);
    assert_eq!(stage.versions(), (2, 1));
    done(&stage, &configuration, &["--now", "--no-wait"]);
    stage.bao.write("transit/keys/orders/rotate", &serde_json::json!({}));
    done(&stage, &configuration, &[]);
    assert_eq!(stage.versions(), (4, 2), "of the versions 2 and 3 two are kept");
}

#[test]
fn a_secret_id_that_its_tests_have_used_up_is_not_published() {
    let stage = Engines::set();
    stage.bao.write("auth/approle/role/orders", &serde_json::json!({"secret_id_num_uses": 2}));
    let (faults, first) = (Faults::before(&stage.bao.plain_address()), stage.secret_id());
    faults.show_at("/v1/auth/approle/login", Fault::Cut);
    let by_proxy = stage.configuration_by(&faults.address(), Rotated::SecretId, "1s");
    let lost = stage.rotate(&by_proxy, &["--now"]);
    assert_eq!(lost.code, Some(69), "{}", lost.stderr);
    faults.heal();
    let configuration = stage.configuration(Rotated::SecretId, "1s");
    let again = stage.rotate(&configuration, &["--now"]);
    assert!(again.code == Some(1) && again.stderr.contains("more than one login"), "{}", again.stderr);
    assert_eq!((stage.secret_id(), stage.secret_ids()), (first, 1));
    done(&stage, &configuration, &["--now"]);
    assert!(stage.secret_ids() == 1 && stage.logs_in(&stage.secret_id()));
}

#[test]
fn a_secret_id_is_tested_published_and_the_old_one_destroyed() {
    let stage = Engines::set();
    let configuration = stage.configuration(Rotated::SecretId, "1s");
    let first = stage.secret_id();
    done(&stage, &configuration, &["--now", "--no-wait"]);
    let second = stage.secret_id();
    assert_ne!(first, second);
    assert!(stage.logs_in(&first) && stage.logs_in(&second) && stage.secret_ids() == 2);
    done(&stage, &configuration, &[]);
    assert!(!stage.logs_in(&first) && stage.logs_in(&second) && stage.secret_ids() == 1);
    let rest = stage.bao.read("secret/data/orders/login").unwrap();
    assert_eq!(rest["data"]["data"]["note"], "stays");
    let back = stage.configuration(Rotated::SecretId, "30s");
    done(&stage, &back, &["--now", "--no-wait"]);
    let short = Launch::new("rotate").args(["rollback", "orders"]).config(&configuration).output();
    assert_eq!((short.code, stage.secret_id()), (Some(0), second), "{}", short.stderr);
    assert_eq!(stage.secret_ids(), 1);
    let leaked = done(&stage, &back, &["orders", "--now", "--revoke-old", "--reason", "leaked"]);
    assert!(stage.secret_ids() == 1 && stage.logs_in(&stage.secret_id()), "{leaked}");
    assert!(leaked.contains("live on to their own end"), "{leaked}");

    stage.bao.write("auth/approle/role/orders", &serde_json::json!({"secret_id_num_uses": 1}));
    let refused = stage.rotate(&configuration, &["--now"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("use up"), "{}", refused.stderr);
    assert_eq!(stage.secret_ids(), 1);
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let stage = Engines::set();
    let role = stage.configuration(Rotated::Role, "");
    let refused = |configuration: &str, code: i32, words: &str| {
        let done = stage.rotate(configuration, &["--now"]);
        assert!(
            done.code == Some(code) && done.stderr.contains(words),
            "{words}: {:?} {}",
            done.code,
            done.stderr
        );
    };
    refused(&role.replace("static-roles", "static-creds"), 64, "MOUNT/static-roles/NAME");
    refused(&role.replace("static-roles/orders", "static-roles/others"), 77, "the policy must allow `read`");
    refused(&role.replace("record:", "# record:"), 64, "needs `record`");
    refused(&role.replace("record:", "overlap: 1m\n    record:"), 64, "keeps no old value");
    let secret_id = stage.configuration(Rotated::SecretId, "1s");
    refused(
        &secret_id.replace("auth/approle/role/orders", "secret/orders/login"),
        64,
        "is a role of AppRole",
    );
    refused(
        &secret_id.replace("secret/orders/login", "secret/keywheel/rotation/orders"),
        64,
        "make for themselves",
    );
    assert_eq!((stage.secret_ids(), stage.versions()), (1, (1, 1)));
    done(&stage, &secret_id, &["--now"]);
    let password = stage.password();
    for other in [&role, &stage.configuration(Rotated::Key, "1s")] {
        let place = "record: vault://secret/keywheel/rotation/orders";
        refused(&other.replace(place, &format!("{place}/login")), 64, "another rotation's");
    }
    done(&stage, &role, &["--now"]);
    refused(&role.replace("static-roles/orders", "config/orders"), 64, "another rotation's");
    assert!(stage.password() != password && stage.versions() == (1, 1) && stage.logs_in(&stage.secret_id()));
}

/// How often the engine is asked in one rotation, and at most where a rotator was killed in it.
struct Often {
    once: u64,
    killed: u64,
}

/// Kills a rotator at requests, and has the next one end what was begun; `count` says how much the engine has made so far.
fn killed(
    rotated: Rotated,
    often: &Often,
    count: impl Fn(&Engines) -> u64,
    works: impl Fn(&Engines) -> bool,
) {
    let stage = Engines::set();
    let faults = Faults::before(&stage.bao.plain_address());
    let by_proxy = stage.configuration_by(&faults.address(), rotated, "100ms");
    let plain = stage.configuration(rotated, "100ms");
    let first = count(&stage);
    done(&stage, &by_proxy, &["--now"]);
    assert_eq!(count(&stage), first + often.once);
    let (requests, stride) = (faults.count(), soak::count(6, 1));
    let mut before = count(&stage);
    let kills = kills::at_requests(&faults, &by_proxy, (0..requests).step_by(stride), |what| {
        assert!(works(&stage), "{what}: what is published does not work");
        done(&stage, &plain, &[]);
        assert_eq!(stage.status(&plain)["phase"], "idle", "{what}");
        assert!(works(&stage), "{what}: what is published does not work at the end");
        let replaced = count(&stage) - before;
        assert!(replaced <= often.killed, "{what}: replaced {replaced} times");
        before += replaced;
    });
    eprintln!("{rotated:?}: {requests} requests, every {stride}.: {kills} kills");
}

/// Returns what counts the requests of rotators to a path, from the first count on.
fn asked(path: &'static str) -> impl Fn(&Engines) -> u64 {
    let begun = std::cell::OnceCell::new();
    move |stage| stage.bao.count_since(*begun.get_or_init(|| stage.bao.mark()), path) as u64
}

#[test]
fn a_killed_rotator_has_a_role_rotated_once() {
    let works = |stage: &Engines| stage.postgres.login("orders", &stage.password(), SECOND).is_ok();
    killed(Rotated::Role, &Often { once: 1, killed: 1 }, asked("database/rotate-role/orders"), works);
}

#[test]
fn a_killed_rotator_leaves_a_connection_that_works() {
    let works = |stage: &Engines| {
        let before = stage.password();
        stage.bao.rotate_static_role("orders");
        stage.password() != before
    };
    // The server does not say when it did.
    killed(Rotated::Connection, &Often { once: 1, killed: 2 }, asked("database/rotate-root/orders"), works);
}

#[test]
fn a_killed_rotator_makes_one_version_of_a_key() {
    let works = |stage: &Engines| stage.versions().1 <= stage.versions().0;
    killed(Rotated::Key, &Often { once: 1, killed: 1 }, |stage| stage.versions().0, works);
}

#[test]
fn a_killed_rotator_leaves_one_secret_id() {
    let works = |stage: &Engines| stage.logs_in(&stage.secret_id());
    killed(Rotated::SecretId, &Often { once: 0, killed: 0 }, |stage| stage.secret_ids() as u64, works);
}
