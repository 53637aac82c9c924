//! Kills `keywheel rotate --now` at a chosen moment, again and again; whoever asks for it brings the rotation to its end each time.

use std::time::Duration;

use crate::{Fault, Faults, Gate, Launch, Stop, wait};

/// Kills rotators at the requests with these numbers, each once before the server has it and once when the server has answered it; `configuration` leads through
/// `faults`. After each, `finish` is told what was done. Returns how many were killed there.
///
/// # Panics
///
/// When one goes on after its request, or most come to their end before it.
pub fn at_requests(
    faults: &Faults,
    configuration: &str,
    numbers: impl Iterator<Item = usize>,
    mut finish: impl FnMut(&str),
) -> usize {
    let (mut kills, mut moments) = (0, 0);
    for number in numbers {
        for fault in [Fault::Hang, Fault::Late { by: Duration::MAX }] {
            let what = format!("killed at request {number}, {fault:?}");
            let (before, arrived) = (faults.held(), faults.count());
            faults.show_after(number, "", fault);
            let was_there = kill_when(configuration, &what, || faults.held() > before);
            // How often a rotator looks is not always the same.
            let requests = faults.count() - arrived;
            assert!(was_there || requests <= number, "{what}: {requests} requests, and not killed");
            (kills, moments) = (kills + usize::from(was_there), moments + 1);
            faults.heal();
            finish(&what);
        }
    }
    assert!(kills * 2 > moments, "{kills} kills at {moments} moments");
    kills
}

/// Kills rotators before a message to the database arrives and when it has, at each `stride`-th of these moments; `configuration` leads through `gate`. Returns how
/// many were stopped there.
pub fn at_messages(gate: &Gate, configuration: &str, stride: usize, mut finish: impl FnMut(&str)) -> usize {
    gate.stop_at(Stop { connection: usize::MAX, message: 0, passed_on: true });
    let whole = Launch::new("rotate").config(configuration).arg("--now").output();
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let (connections, mut stops) = (gate.count(), 0);
    assert!(connections > 2, "to look, to set, to test: {connections}");
    for connection in 0..connections {
        // Before it arrives, and when it has.
        for half in (connection % stride..).step_by(stride) {
            let (message, passed_on) = (half / 2, half % 2 == 1);
            let what =
                format!("killed at message {message} of connection {connection} (passed on: {passed_on})");
            gate.stop_at(Stop { connection, message, passed_on });
            let stopped = kill_when(configuration, &what, || gate.has_stopped());
            gate.open();
            finish(&what);
            if !stopped {
                break;
            }
            stops += 1;
        }
    }
    stops
}

/// Runs a rotator until it `is_there` or at its end, and kills it; returns whether it was there.
pub fn kill_when(configuration: &str, what: &str, is_there: impl Fn() -> bool) -> bool {
    let rotator = Launch::new("rotate").config(configuration).arg("--now").start();
    wait::until(BOUND, what, || {
        let over = is_there() || rotator.process().ended().is_some();
        over.then_some(())
    });
    let was_there = is_there();
    rotator.process().kill();
    was_there
}

const BOUND: Duration = Duration::from_secs(30);
