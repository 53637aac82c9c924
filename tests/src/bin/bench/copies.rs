//! How many copies of a value are in a program's memory, some time after it was delivered and after it was replaced.

use std::thread;
use std::time::{Duration, Instant};

use keywheel_tests::{OpenBao, scan};

use crate::contender::Contender;
use crate::figure::{Figure, count};
use crate::job::{self, Order, Wanted};
use crate::measure::{POLICY, Running};
use crate::options::Options;
use crate::polling::holds;
use crate::report::Report;
use crate::section::Section;

/// Measures a few secrets that are looked at every five seconds; one of them changes.
pub(crate) fn measure(options: &Options, report: &mut Report<'_>) {
    let server = OpenBao::start();
    server.policy(POLICY, job::UNLISTED);
    let order = Order::of_secrets(SECRETS, REFRESH);
    for round in 0..options.rounds {
        for contender in options.in_turn(round) {
            eprintln!("round {} of {}: {contender}, copies of {SECRETS} values", round + 1, options.rounds);
            report.add(Section::Copies, contender, run(&server, contender, &order, options));
        }
    }
}

fn run(server: &OpenBao, contender: Contender, order: &Order, options: &Options) -> Vec<Figure> {
    let values: Vec<String> = (0..SECRETS).map(|index| job::write_random(server, index)).collect();
    let running = Running::start(server, contender, order);
    let begun = Instant::now();
    if !scan::is_possible(running.pid()) {
        return Vec::new();
    }
    let mut figures = Vec::new();
    for at in AFTER.into_iter().filter(|at| *at <= options.idle.max(AFTER[0])) {
        thread::sleep(at.saturating_sub(begun.elapsed()));
        let found = scan::copies(running.pid(), &values).len();
        let seconds = usize::try_from(at.as_secs()).unwrap_or_default();
        let title = format!("copies of {SECRETS} values, {seconds} s after they were delivered");
        figures.push(Figure::new("copies_after_delivery", seconds, title, count(found)));
    }

    let new = job::write_random(server, CHANGED);
    let file = running.file(&Wanted::secret(CHANGED).file);
    keywheel_tests::wait::until(BOUND, "a change to be in its file", || holds(&file, &new).then_some(()));
    thread::sleep(AFTER_CHANGE);
    let old = &values[CHANGED..=CHANGED];
    let title =
        format!("copies of a replaced value, {} s after the new one was delivered", AFTER_CHANGE.as_secs());
    figures.push(Figure::new("copies_after_change", 1, title, count(scan::copies(running.pid(), old).len())));
    running.end();
    figures
}

const SECRETS: usize = 10;
const CHANGED: usize = 3;
const REFRESH: Duration = Duration::from_secs(5);
const AFTER: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(60)];
const AFTER_CHANGE: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(120);
