//! A rotator that is killed at any request to the server, or any message to the database: what is published logs in all along, and the next run
//! brings the rotation to its end.

#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::{Fault, Faults, Gate, Launch, Rotations, Stop, soak, wait};

const SECOND: Duration = Duration::from_secs(1);
const NOT_DUE: &str = "{every: 30d}";

#[test]
fn at_any_request_to_the_server() {
    let stage = Rotations::set();
    let faults = Faults::before(&stage.bao.plain_address());
    let by_proxy = stage.configuration_by(&faults.address(), &stage.database.address(), NOT_DUE, "100ms", "");
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
            stage.finish(&stage.configuration(NOT_DUE, "100ms", ""), &what);
        }
    }
    let seen = probe.finish();
    eprintln!("{requests} requests, every {stride}.: {} logins, {} failed", seen.logins, seen.failed.len());
    assert_eq!(seen.failed, Vec::<String>::new());
}

#[test]
fn at_any_message_to_the_database() {
    let stage = Rotations::set();
    let gate = Gate::before(stage.database.port());
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
            stage.finish(&stage.configuration(NOT_DUE, "100ms", ""), &what);
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
