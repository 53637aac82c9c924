//! A rotator that is killed at any request to the server, or any message to the database: what is published logs in all along, and the next run
//! brings the rotation to its end.

#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use keywheel_tests::databases::Database;
use keywheel_tests::{Faults, Gate, MariaDb, OpenBao, Postgres, Rotations, kills, soak};

const NOT_DUE: &str = "{every: 30d}";
const TWO: &str = "[orders_a, orders_b]";
const ONE: &str = "[orders_a]";

fn at_any_request<D: Database>(users: &str) {
    let stage = Rotations::<D>::on(OpenBao::start());
    let faults = Faults::before(&stage.bao.plain_address());
    let of_users = |configuration: String| configuration.replace(TWO, users);
    let plain = of_users(stage.configuration(NOT_DUE, "100ms", ""));
    let by_proxy = stage.configuration_by(&faults.address(), &stage.database.address(), NOT_DUE, "100ms", "");
    let by_proxy = of_users(by_proxy);
    // How many requests a rotation takes.
    let done = stage.rotate(&by_proxy, &["--now"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let (requests, stride) = (faults.count(), soak::count(5, 1));
    assert!(requests > 15, "{requests}");
    let probe = stage.probe();
    let numbers = (0..requests).step_by(stride);
    let kills = kills::at_requests(&faults, &by_proxy, numbers, |what| stage.finish(&plain, what));
    let seen = probe.finish();
    eprintln!(
        "{users}: {requests} requests, every {stride}.: {kills} kills, {} logins, {} failed",
        seen.logins,
        seen.failed.len()
    );
    assert_eq!(seen.failed, Vec::<String>::new());
}

/// Kills rotators at messages; returns how often what was published was refused, and why.
fn at_any_message<D: Database>(users: &str) -> Vec<String> {
    let stage = Rotations::<D>::on(OpenBao::start());
    let gate = Gate::before(&stage.database.address());
    let of_users = |configuration: String| configuration.replace(TWO, users);
    let plain = of_users(stage.configuration(NOT_DUE, "100ms", ""));
    let by_gate = stage.configuration_by(&stage.bao.plain_address(), &gate.address(), NOT_DUE, "100ms", "");
    let probe = stage.probe();
    let finish = |what: &str| stage.finish(&plain, what);
    let stops = kills::at_messages(&gate, &of_users(by_gate), soak::count(7, 1), finish);
    let seen = probe.finish();
    eprintln!("{users}: {stops} stops: {} logins, {} failed", seen.logins, seen.failed.len());
    assert!(stops > 4, "{stops}");
    seen.failed
}

#[test]
fn at_any_request_with_two_roles_of_postgresql() {
    at_any_request::<Postgres>(TWO);
}

#[test]
fn at_any_request_with_two_accounts_of_mariadb() {
    at_any_request::<MariaDb>(TWO);
}

#[test]
fn at_any_request_with_one_account_of_mariadb() {
    at_any_request::<MariaDb>(ONE);
}

#[test]
fn at_any_message_to_postgresql_of_two_roles() {
    assert_eq!(at_any_message::<Postgres>(TWO), Vec::<String>::new());
}

#[test]
fn at_any_message_to_postgresql_of_one_role() {
    // It has one password: what is published may be refused until the next run, which ends the rotation all the same.
    at_any_message::<Postgres>(ONE);
}

#[test]
fn at_any_message_to_mariadb_of_two_accounts() {
    assert_eq!(at_any_message::<MariaDb>(TWO), Vec::<String>::new());
}

#[test]
fn at_any_message_to_mariadb_of_one_account() {
    assert_eq!(at_any_message::<MariaDb>(ONE), Vec::<String>::new());
}
