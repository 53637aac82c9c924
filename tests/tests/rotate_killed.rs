//! A rotator that is killed at any request to the server, or any message to the database: what is published logs in all along, and the next run
//! brings the rotation to its end.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::{Fault, Faults, Gate, Launch, Rotations, Stop, soak, wait};

const SECOND: Duration = Duration::from_secs(1);
const NOT_DUE: &str = "{every: 30d}";

/// Has the next run finish what was begun, and sees that nothing is left of it.
fn finish(stage: &Rotations, what: &str) {
    let plain = stage.configuration(NOT_DUE, "100ms", "");
    let done = stage.rotate(&plain, &["--json"]);
    assert_eq!(done.code, Some(0), "{what}: {}", done.stderr);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report[0]["phase"], "idle", "{what}: {report}");
    let (user, password) = stage.published();
    assert!(
        stage.postgres.login(&user, &password, SECOND).is_ok(),
        "{what}: what is published does not log in"
    );
    assert_eq!(stage.open_roles(), [user], "{what}: something was left behind");
    let record = stage.record();
    let fields: Vec<&String> = record.as_object().map(|record| record.keys().collect()).unwrap_or_default();
    assert!(fields.iter().all(|field| *field == "record"), "{what}: the record keeps values");
}

#[test]
fn at_any_request_to_the_server() {
    let stage = Rotations::set();
    let faults = Faults::before(&stage.bao.plain_address());
    let by_proxy = stage.configuration_by(&faults.address(), &stage.postgres.address(), NOT_DUE, "100ms", "");
    // How many requests a rotation takes.
    let done = stage.rotate(&by_proxy, &["--now"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let requests = faults.count();
    assert!(requests > 15, "{requests}");
    let probe = stage.probe();
    let stride = soak::count(4, 1);
    for number in (0..requests).step_by(stride) {
        for fault in [Fault::Hang, Fault::Late { by: 3600 * SECOND }] {
            let what = format!("killed at request {number} of {requests}, {fault:?}");
            let before = faults.count();
            faults.show_after(number, "/v1/", fault);
            let rotator = Launch::new("rotate").config(&by_proxy).arg("--now").start();
            wait::until(20 * SECOND, &what, || {
                (faults.count() > before + number || rotator.process().ended().is_some()).then_some(())
            });
            rotator.process().kill();
            faults.heal();
            finish(&stage, &what);
        }
    }
    let seen = probe.finish();
    eprintln!("{requests} requests, every {stride}.: {} logins, {} failed", seen.logins, seen.failed.len());
    assert_eq!(seen.failed, Vec::<String>::new());
}

#[test]
fn at_any_message_to_the_database() {
    let stage = Rotations::set();
    let gate = Gate::before(stage.postgres.port());
    let by_gate = stage.configuration_by(&stage.bao.plain_address(), &gate.address(), NOT_DUE, "100ms", "");
    let probe = stage.probe();
    let (mut stops, stride) = (0, soak::count(3, 1));
    // To look, to set, to test, to retire: each on a connection of its own.
    for connection in 0..4 {
        for message in (connection % stride..).step_by(stride) {
            let passed_on = (connection + message) % 2 == 0;
            let what =
                format!("killed at message {message} of connection {connection} (passed on: {passed_on})");
            gate.stop_at(Stop { connection, message, passed_on });
            let rotator = Launch::new("rotate").config(&by_gate).arg("--now").start();
            wait::until(20 * SECOND, &what, || {
                (gate.has_stopped() || rotator.process().ended().is_some()).then_some(())
            });
            let stopped = gate.has_stopped();
            rotator.process().kill();
            gate.open();
            finish(&stage, &what);
            if !stopped {
                break;
            }
            stops += 1;
        }
    }
    let seen = probe.finish();
    eprintln!("{stops} stops: {} logins, {} failed", seen.logins, seen.failed.len());
    assert_eq!(seen.failed, Vec::<String>::new());
    assert!(stops > 4, "{stops}");
}
