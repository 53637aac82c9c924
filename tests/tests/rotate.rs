//! `keywheel rotate` with a real database and a real server: readers never have a credential that is refused, whatever happens to the rotator.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::rotations::MAY_ROTATE;
use keywheel_tests::{Launch, Postgres, Rotations, Signal, soak, wait};

const SECOND: Duration = Duration::from_secs(1);
const NOT_DUE: &str = "{every: 30d}";

#[test]
fn no_login_fails_while_two_roles_take_turns() {
    let rotations = soak::count(8, 100);
    let stage = Rotations::set();
    let configuration = stage.configuration(NOT_DUE, "500ms", "");
    let probe = stage.probe();
    let mut first = stage.published();
    for _ in 0..rotations {
        let done = stage.rotate(&configuration, &["--now"]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let next = stage.published();
        assert_ne!(next.0, first.0);
        let (user, password) = std::mem::replace(&mut first, next);
        assert!(stage.database.login(&user, &password, SECOND).is_err(), "the old one still works");
    }
    let seen = probe.finish();
    eprintln!("{rotations} rotations: {} logins, {} failed", seen.logins, seen.failed.len());
    assert_eq!(seen.failed, Vec::<String>::new());
    assert!(seen.logins >= rotations && seen.users.len() == 2, "{seen:?}");
    assert_eq!(stage.database.roles_like("orders").len(), 2);
    assert_eq!(stage.open_accounts(), [stage.published().0]);
    assert_eq!(stage.version(), rotations as u64 + 1);
    // What was granted to the one was granted to the other, and what is beside the credential stays.
    let (user, password) = stage.published();
    let granted = "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'orders_b' AND table_name = 'orders'";
    assert_eq!(stage.database.query(granted)[0][0], "2");
    assert!(stage.database.login(&user, &password, SECOND).is_ok());
    let port = &stage.bao.read("secret/data/orders/db").unwrap()["data"]["data"]["port"];
    assert_eq!(port.as_u64(), Some(5432));
}

#[test]
fn an_agent_delivers_each_rotation_and_no_query_fails() {
    let rotations = soak::count(5, 100);
    let stage = keywheel_tests::Stage::set();
    let rotated = Rotations::on(stage.bao);
    let volume = stage.volume;
    let directory = volume.path().join("orders");
    let agent = Launch::agent(&format!(
        "providers:\n  vault: {{kind: vault, address: \"{}\", auth: {{method: token, token: \"{}\"}}}}\ndeliveries:\n  - name: orders\n    directory: {}\n    \
         secrets:\n      db: {{ref: \"vault://secret/orders/db\", refresh: 200ms}}\n    files:\n      - {{path: account, value: \"{{{{ db.username }}}}:{{{{ db.password }}}}\"}}\n",
        rotated.bao.plain_address(),
        rotated.bao.root_token(),
        directory.display(),
    ))
    .start();
    agent.wait_ready(10 * SECOND);
    let probe = keywheel_tests::Probe::start(&rotated.database, &directory.join("account"), SECOND / 50);
    let configuration = rotated.configuration(NOT_DUE, "2s", "");
    for _ in 0..rotations {
        let done = rotated.rotate(&configuration, &["--now"]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let seen = probe.finish();
    eprintln!(
        "{rotations} rotations: {} logins, {} changes, {} failed",
        seen.probes, seen.changes, seen.failed
    );
    assert_eq!((seen.failed, seen.overtaken), (0, 0), "{:?}", seen.windows);
    assert_eq!(seen.changes, rotations);
}

#[test]
fn two_rotators_at_once_rotate_once() {
    let stage = Rotations::set();
    let before = stage.version();
    let slow = stage.configuration("{every: 8s}", "1s", "");
    let early = stage.rotate(&slow, &["orders", "--dry-run"]);
    assert_eq!((early.code, stage.version()), (Some(0), before), "{}", early.stderr);
    assert!(early.stdout.contains("vault://secret/orders/db"), "{}", early.stdout);
    let early = stage.rotate(&slow, &[]);
    assert_eq!((early.code, stage.version()), (Some(0), before), "{}", early.stderr);
    wait::until(20 * SECOND, "the rotation to be due", || {
        let done = stage.rotate(&slow, &["status"]);
        done.stdout.contains(" due ").then_some(())
    });
    let start = || Launch::new("rotate").config(&slow).arg("--no-wait").start();
    let rotators = [start(), start(), start()];
    for rotator in &rotators {
        let status = rotator.process().wait_for_end(30 * SECOND);
        assert!(status.success(), "{status}: {}", rotator.process().stderr());
    }
    assert_eq!(stage.version(), before + 1);
    let (user, password) = stage.published();
    assert!(stage.database.login(&user, &password, SECOND).is_ok());
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_changed() {
    let stage = Rotations::set();
    let (before, version) = (stage.published(), stage.version());
    let plain = stage.configuration(NOT_DUE, "1s", "");
    let unchanged = |stage: &Rotations, why: &str| {
        assert_eq!((stage.published(), stage.version()), (before.clone(), version), "{why}");
        assert_eq!(stage.open_accounts(), ["orders_a"], "{why}");
        assert_eq!(stage.database.roles_like("orders"), ["orders_a"], "{why}");
    };
    let refused = |configuration: &str, code: i32, words: &str| {
        let done = stage.rotate(configuration, &["--now"]);
        assert_eq!(done.code, Some(code), "{}", done.stderr);
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
        unchanged(&stage, words);
    };

    stage.database.execute("ALTER ROLE rotator NOCREATEROLE");
    refused(&plain, 77, "give it CREATEROLE");
    stage.database.execute("ALTER ROLE rotator CREATEROLE; ALTER TABLE orders OWNER TO orders_a");
    refused(&plain, 1, "REASSIGN OWNED");
    stage.database.execute("ALTER TABLE orders OWNER TO keywheel");
    refused(&plain.replace("[orders_a, orders_b]", "[rotator, orders_b]"), 64, "lock itself out");
    refused(&plain.replace("users: [orders_a, orders_b]", "users: [nobody]"), 1, "there is no such role");
    refused(&plain.replace("database: postgres", "database: elsewhere"), 64, "no such database");
    refused(
        &plain.replace("target: vault://secret/orders/db", "target: vault://database/creds/x"),
        77,
        "policy",
    );
    refused(&plain.replace("secret/orders/db", "secret/orders/db?version=1"), 64, "plain path of KV");
    stage.allow(&MAY_ROTATE.replace(r#""read", "create", "update""#, r#""read""#));
    refused(&plain, 77, "`create` and `update` on secret/data/keywheel/rotation/orders/db");
    stage.allow(MAY_ROTATE);
    let done = stage.rotate(&plain, &["--now"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

#[test]
fn a_name_with_quotes_is_a_name() {
    let stage = Rotations::set();
    let name = r#"orders"; DROP TABLE orders; --"#;
    stage.database.execute(&format!("CREATE ROLE \"{}\" LOGIN PASSWORD 'first'", name.replace('"', "\"\"")));
    stage.publish(name, "first");
    let users = format!(r#"users: ['{name}', "orders'b%s"]"#);
    let configuration =
        stage.configuration(NOT_DUE, "100ms", "").replace("users: [orders_a, orders_b]", &users);
    for user in ["orders'b%s", name] {
        let done = stage.rotate(&configuration, &["--now"]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert_eq!(stage.published().0, user);
        let (user, password) = stage.published();
        assert!(stage.database.login(&user, &password, SECOND).is_ok());
    }
    assert_eq!(stage.database.query("SELECT count(*) FROM orders")[0][0], "0");
}

#[test]
fn one_role_is_replaced_in_place_and_comes_back_when_it_cannot_be_published() {
    let stage = Rotations::set();
    let configuration = stage.configuration(NOT_DUE, "1s", "").replace("[orders_a, orders_b]", "[orders_a]");
    let done = stage.rotate(&configuration, &["--now"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let (user, password) = stage.published();
    assert_eq!(user, "orders_a");
    assert!(stage.database.login(&user, &password, SECOND).is_ok());
    assert!(stage.database.login(&user, "first", SECOND).is_err());
    // Everything but the publication itself is allowed.
    stage.allow(&MAY_ROTATE.replace(
        r#"orders/db" { capabilities = ["read", "create", "update"] }
path"#,
        r#"orders/db" { capabilities = ["read"] }
path"#,
    ));
    let done = stage.rotate(&configuration, &["--now"]);
    assert_eq!(done.code, Some(77), "{}", done.stderr);
    assert_eq!(stage.published(), (user.clone(), password.clone()));
    assert!(stage.database.login(&user, &password, SECOND).is_ok(), "what is published has to work");
}

#[test]
fn a_database_that_is_away_is_told_and_tried_again_later() {
    let stage = Rotations::set();
    let port = keywheel_tests::ports::free();
    let away = stage.configuration_by(
        &stage.bao.plain_address(),
        &format!("127.0.0.1:{port}"),
        NOT_DUE,
        "100ms",
        "",
    );
    let done = stage.rotate(&away, &["--now"]);
    assert_eq!(done.code, Some(69), "{}", done.stderr);
    let status = stage.rotate(&away, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(
        (status[0]["phase"].as_str(), status[0]["failures"].as_u64()),
        (Some("idle"), Some(1)),
        "{status}"
    );
    assert!(status[0]["error"].as_str().unwrap().contains("cannot be reached"), "{status}");
    let done = stage.rotate(&stage.configuration(NOT_DUE, "100ms", ""), &["--now"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(stage.published().0, "orders_b");
}

#[test]
fn the_server_of_schedules_rotates_on_time_and_ends_in_order() {
    let stage = Rotations::set();
    let configuration = stage.configuration("{cron: \"*/2 * * * * *\"}", "500ms", "");
    let probe = stage.probe();
    let server = Launch::new("rotate").arg("serve").config(&configuration).start();
    wait::until(30 * SECOND, "three rotations", || {
        server.process().assert_running();
        (stage.version() >= 4).then_some(())
    });
    server.process().signal(Signal::TERM);
    assert!(server.process().wait_for_end(20 * SECOND).success());
    let seen = probe.finish();
    assert_eq!(seen.failed, Vec::<String>::new());
    let audit: Vec<serde_json::Value> = server.logged("rotation");
    let published: Vec<&serde_json::Value> = audit.iter().filter(|line| line["step"] == "finish").collect();
    assert!(published.len() >= 3, "{audit:?}");
    let line = published[0];
    assert_eq!((&line["rotation"], &line["outcome"]), (&"orders".into(), &"done".into()), "{line}");
    assert!(line["secret"] == "vault://secret/orders/db" && line["version"] == "2", "{line}");
    let (_, password) = stage.published();
    assert!(!server.logs().contains(&password) && !server.logs().contains("first"));
}

#[test]
fn there_is_a_way_back_and_a_way_to_revoke_at_once() {
    let stage = Rotations::set();
    let configuration = stage.configuration(NOT_DUE, "30s", "");
    let done = stage.rotate(&configuration, &["--now", "--no-wait"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains("orders: rotated, version 2; the old value goes in"), "{}", done.stdout);
    assert_eq!(stage.open_accounts(), ["orders_a", "orders_b"]);
    let short = stage.configuration(NOT_DUE, "100ms", "");
    let back = Launch::new("rotate").args(["rollback", "orders"]).config(&short).output();
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    assert_eq!(
        (stage.published(), stage.open_accounts()),
        (("orders_a".into(), "first".into()), vec!["orders_a".to_owned()])
    );
    let again = Launch::new("rotate").args(["rollback", "orders"]).config(&short).output();
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("nothing to go back to"), "{}", again.stderr);

    let old = Session::open(&stage.database, "orders_a", "first");
    let leaked =
        stage.rotate(&configuration, &["orders", "--now", "--revoke-old", "--reason", "leaked in a log"]);
    assert_eq!(leaked.code, Some(0), "{}", leaked.stderr);
    assert_eq!(stage.open_accounts(), ["orders_b"]);
    assert!(leaked.stderr.contains("leaked in a log"), "{}", leaked.stderr);
    wait::until(5 * SECOND, "the session of the leaked account to end", || {
        old.has_ended(&stage.database).then_some(())
    });
    assert_eq!(stage.record().as_object().unwrap().keys().collect::<Vec<_>>(), ["record"]);
}

/// A connection of an account that stays open.
struct Session {
    user: String,
    _connection: keywheel_tests::sql::Connection,
}

impl Session {
    fn open(postgres: &Postgres, user: &str, password: &str) -> Self {
        Self { user: user.into(), _connection: postgres.connect(user, password) }
    }

    fn has_ended(&self, postgres: &Postgres) -> bool {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", self.user);
        postgres.query(&sql)[0][0] == "0"
    }
}
