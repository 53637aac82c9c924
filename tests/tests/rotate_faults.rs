//! A server, a database or a permission that is away at any moment of a rotation: nothing is published that was not tested, the status says why, and
//! nobody asks over and over.

#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::databases::Database;
use keywheel_tests::scripts::{Form, Scripts};
use keywheel_tests::{Fault, Faults, Gate, MariaDb, OpenBao, Postgres, Rotations, soak};

const SECOND: Duration = Duration::from_secs(1);
const NOT_DUE: &str = "{every: 30d}";

/// Sees that what is published logs in.
fn logs_in<D: Database>(stage: &Rotations<D>, what: &str) {
    let (user, password) = stage.published();
    let login = stage.database.login(&user, &password, 10 * SECOND);
    assert_eq!(login, Ok(()), "{what}: what is published does not log in");
}

/// Has a new rotation go well, and sees that nothing is left of the ones before.
fn mended<D: Database>(stage: &Rotations<D>, configuration: &str, what: &str) {
    let done = stage.rotate(configuration, &["--now"]);
    assert_eq!(done.code, Some(0), "{what}: {}", done.stderr);
    stage.finish(configuration, what);
}

/// Has the server fail from any request on.
fn at_any_request<D: Database>(stage: &Rotations<D>, faults: &Faults, by_proxy: &str, plain: &str) {
    let before = faults.count();
    let done = stage.rotate(by_proxy, &["--now"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let (requests, stride) = (faults.count() - before, soak::count(9, 1));
    let refused = Fault::Answer { status: 403, body: r#"{"errors":["permission denied"]}"#.into() };
    for number in (0..requests).step_by(stride) {
        for (fault, code) in [(Fault::Sealed, 69), (refused.clone(), 77)] {
            let what = format!("{code} from request {number} of {requests} on");
            let before = faults.count();
            faults.show_after(number, "", fault);
            let failed = stage.rotate(by_proxy, &["--now"]);
            let asked = (faults.count() - before).saturating_sub(number);
            faults.heal();
            // The last request gives the login back, for which nobody fails.
            assert!(
                failed.code == Some(code) || number + 1 == requests,
                "{what}: {:?} {}",
                failed.code,
                failed.stderr
            );
            assert!(asked < 20, "{what}: asked {asked} times");
            logs_in(stage, &what);
            mended(stage, plain, &what);
        }
    }
    eprintln!("{requests} requests, every {stride}.");
}

fn at_any_request_of<D: Database>() {
    let stage = Rotations::<D>::on(OpenBao::start());
    let faults = Faults::before(&stage.bao.plain_address());
    let by_proxy = stage.configuration_by(&faults.address(), &stage.database.address(), NOT_DUE, "100ms", "");
    at_any_request(&stage, &faults, &by_proxy, &stage.configuration(NOT_DUE, "100ms", ""));
}

#[test]
fn a_server_that_fails_while_postgresql_is_rotated() {
    at_any_request_of::<Postgres>();
}

#[test]
fn a_server_that_fails_while_mariadb_is_rotated() {
    at_any_request_of::<MariaDb>();
}

#[test]
fn a_server_that_fails_while_a_program_rotates() {
    let scripts = Scripts::set();
    let stage = &scripts.stage;
    let faults = Faults::before(&stage.bao.plain_address());
    let plain = scripts.configuration(&stage.bao.plain_address(), Form::One);
    at_any_request(stage, &faults, &scripts.configuration(&faults.address(), Form::One), &plain);
}

/// Has the database be away from each of the connections of a rotation on.
fn away_at_any_step<D: Database>(users: &str) {
    let stage = Rotations::<D>::on(OpenBao::start());
    let gate = Gate::before(&stage.database.address());
    let of_users = |configuration: String| configuration.replace("[orders_a, orders_b]", users);
    let by_gate = stage.configuration_by(&stage.bao.plain_address(), &gate.address(), NOT_DUE, "100ms", "");
    let (by_gate, plain) = (of_users(by_gate), of_users(stage.configuration(NOT_DUE, "100ms", "")));
    // To look, to set, to test, to retire: each on a connection of its own.
    for connection in 0..4 {
        let (what, before) = (format!("away from connection {connection} on"), stage.published());
        gate.refuse_from(connection);
        let failed = stage.rotate(&by_gate, &["--now"]);
        assert_eq!(failed.code, Some(69), "{what}: {}", failed.stderr);
        assert_eq!(gate.count(), connection + 1, "{what}: asked again at once");
        assert_eq!(stage.published() != before, connection == 3, "{what}");
        let status = stage.status(&plain);
        assert!(status["failures"].as_u64() == Some(1) && !status["error"].is_null(), "{what}: {status}");
        // By the schedule, and not before.
        let later = stage.rotate(&by_gate, &["--no-wait"]);
        assert_eq!((later.code, gate.count()), (Some(0), connection + 1), "{what}: {}", later.stderr);
        logs_in(&stage, &what);
        gate.open();
        mended(&stage, &plain, &what);
    }
}

#[test]
fn postgresql_is_away_at_any_step_of_two_roles() {
    away_at_any_step::<Postgres>("[orders_a, orders_b]");
}

#[test]
fn mariadb_is_away_at_any_step_of_two_accounts() {
    away_at_any_step::<MariaDb>("[orders_a, orders_b]");
}

#[test]
fn mariadb_is_away_at_any_step_of_one_account() {
    away_at_any_step::<MariaDb>("[orders_a]");
}

/// Takes the right to replace accounts away between two steps.
fn refused_between_two_steps<D: Database>() {
    let stage = Rotations::<D>::on(OpenBao::start());
    let gate = Gate::before(&stage.database.address());
    let by_gate = stage.configuration_by(&stage.bao.plain_address(), &gate.address(), NOT_DUE, "100ms", "");
    let plain = stage.configuration(NOT_DUE, "100ms", "");
    for (connection, step) in [(0, "create"), (1, "set"), (3, "retire")] {
        let (what, before) = (format!("refused to {step}"), stage.published());
        gate.refuse_from(connection);
        assert_eq!(stage.rotate(&by_gate, &["--now"]).code, Some(69), "{what}");
        stage.database.let_rotate(false);
        let refused = stage.rotate(&plain, &["--now"]);
        assert_eq!(refused.code, Some(77), "{what}: {}", refused.stderr);
        assert_eq!(stage.published() != before, step == "retire", "{what}");
        logs_in(&stage, &what);
        let status = stage.status(&plain);
        assert!(status["failures"].as_u64() > Some(1), "{what}: {status}");
        stage.database.let_rotate(true);
        mended(&stage, &plain, &what);
    }
}

#[test]
fn a_permission_that_is_lost_between_two_steps_at_mariadb() {
    refused_between_two_steps::<MariaDb>();
}

#[test]
fn a_permission_that_is_lost_between_two_steps_at_postgresql() {
    refused_between_two_steps::<Postgres>();
}
