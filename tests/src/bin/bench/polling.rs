//! What it costs to look at many secrets often, and how soon a change is in its file.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use keywheel_tests::{OpenBao, wait};

use crate::contender::Contender;
use crate::figure::{Figure, count, milliseconds, minutes};
use crate::job::{self, Order, Wanted};
use crate::measure::{POLICY, Running, Span};
use crate::options::Options;
use crate::report::Report;
use crate::samples::median;
use crate::section::Section;

/// Measures a hundred secrets that are looked at every five seconds.
pub(crate) fn measure(options: &Options, report: &mut Report<'_>) {
    let server = OpenBao::start();
    job::write_secrets(&server, SECRETS);
    server.policy(POLICY, job::RULES);
    let order = Order::of_secrets(SECRETS, REFRESH);
    for round in 0..options.rounds {
        for contender in options.in_turn(round) {
            eprintln!("round {} of {}: {contender}, polling {SECRETS} secrets", round + 1, options.rounds);
            report.add(Section::Polling, contender, run(&server, contender, &order, options));
        }
    }
}

fn run(server: &OpenBao, contender: Contender, order: &Order, options: &Options) -> Vec<Figure> {
    let running = Running::start(server, contender, order);
    let idle = running.watch_idle(options.idle.max(SHORTEST_IDLE));
    let mut figures = costs(&idle);
    // How long ago the program looked is known once a change is in its file.
    change(&running, server);
    let delays: Vec<_> = (0..options.changes)
        .map(|nth| {
            thread::sleep(pause(nth, options.changes));
            milliseconds(change(&running, server))
        })
        .collect();
    figures.push(Figure::new(
        "change_to_file_milliseconds",
        SECRETS,
        format!("change to file, median of {} (ms)", options.changes),
        median(&delays),
    ));
    running.end();
    figures
}

fn costs(idle: &Span) -> Vec<Figure> {
    let minutes = minutes(idle.elapsed);
    vec![
        Figure::new(
            "requests_per_minute",
            SECRETS,
            format!("requests per minute, {SECRETS} secrets"),
            count(idle.requests.len()) / minutes,
        ),
        Figure::new(
            "cpu_seconds_per_minute",
            SECRETS,
            format!("CPU seconds per minute, {SECRETS} secrets"),
            idle.cpu.as_secs_f64() / minutes,
        ),
    ]
}

/// Returns how long to wait before a change.
///
/// A program has just looked when the change before that one is in its file. The changes are spread over its interval, so
/// that no program is always measured at its best or at its worst.
fn pause(nth: u32, changes: u32) -> Duration {
    (REFRESH / changes).mul_f64(f64::from(nth) + fastrand::f64())
}

/// Changes one secret and returns how long after the server's answer the file has it.
fn change(running: &Running<'_>, server: &OpenBao) -> Duration {
    let file = running.file(&Wanted::secret(CHANGED).file);
    let value = job::write_random(server, CHANGED);
    let begun = Instant::now();
    wait::until(BOUND, "a change to be in its file", || holds(&file, &value).then_some(()));
    begun.elapsed()
}

pub(crate) fn holds(file: &Path, value: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text == value)
}

const SECRETS: usize = 100;
const REFRESH: Duration = Duration::from_secs(5);
/// Less than two looks at a secret show nothing.
const SHORTEST_IDLE: Duration = Duration::from_secs(10);
/// The secret that changes.
const CHANGED: usize = SECRETS / 2;
const BOUND: Duration = Duration::from_secs(120);
