//! What a program costs: its start, its memory, its idling.

use std::collections::BTreeMap;
use std::time::Duration;

use keywheel_tests::OpenBao;

use crate::contender::Contender;
use crate::figure::{Figure, count, megabytes, milliseconds, minutes};
use crate::job::{self, Order};
use crate::measure::{POLICY, Running, Span};
use crate::options::Options;
use crate::report::Report;
use crate::section::Section;

/// Measures one secret and many, in turn, and the most of them once more where the policy does not let their versions be listed.
pub(crate) fn measure(options: &Options, report: &mut Report<'_>) {
    let server = OpenBao::start();
    job::write_secrets(&server, options.secrets);
    server.policy(POLICY, job::RULES);

    // The first start of a program reads it from the disk, which is nobody's merit.
    for contender in &options.contenders {
        Running::start(&server, *contender, &Order::of_secrets(1, REFRESH)).end();
    }
    for round in 0..options.rounds {
        let mut own: BTreeMap<Contender, Vec<u64>> = BTreeMap::new();
        for secrets in numbers(options) {
            let order = Order::of_secrets(secrets, REFRESH);
            for contender in options.in_turn(round) {
                eprintln!("round {} of {}: {contender}, secrets: {secrets}", round + 1, options.rounds);
                let running = Running::start(&server, contender, &order);
                let idle = running.watch_idle(options.idle);
                own.entry(contender).or_default().push(idle.own);
                report.add(Section::Footprint, contender, figures(secrets, &running, &idle));
                running.end();
            }
        }
        for (contender, own) in own {
            report.add(Section::Footprint, contender, whole(contender, &own, options));
        }

        server.policy(POLICY, job::UNLISTED);
        for contender in options.in_turn(round) {
            eprintln!("round {} of {}: {contender}, no list", round + 1, options.rounds);
            let running = Running::start(&server, contender, &Order::of_secrets(options.secrets, REFRESH));
            let idle = running.watch_idle(options.idle);
            report.add(Section::Footprint, contender, unlisted(options.secrets, &idle));
            running.end();
        }
        server.policy(POLICY, job::RULES);
    }
}

/// Returns how many secrets are delivered, one number after the other.
fn numbers(options: &Options) -> impl Iterator<Item = usize> {
    [1, 10, 100].into_iter().filter(|number| *number < options.secrets).chain([options.secrets])
}

/// Returns what belongs to no number of secrets: the program's size, and how much memory one more takes.
fn whole(contender: Contender, own: &[u64], options: &Options) -> [Figure; 2] {
    let bytes = contender.program().metadata().expect("the program").len();
    let (least, most) = (own.first().copied().unwrap_or_default(), own.last().copied().unwrap_or_default());
    let growth = (megabytes(most) - megabytes(least)) * 1000.0 / count(options.secrets - 1);
    [
        Figure::new("growth_kilobytes_per_secret", 0, "memory of its own, for each secret more (kB)", growth),
        Figure::new("program_megabytes", 0, "program (MB)", megabytes(bytes)),
    ]
}

fn figures(secrets: usize, Running { start, .. }: &Running<'_>, idle: &Span) -> Vec<Figure> {
    let of = if secrets == 1 { "1 secret".into() } else { format!("{secrets} secrets") };
    let [cpu, wake_ups, requests] = idling(idle);
    [
        ("start_to_files_milliseconds", "start to files (ms)", milliseconds(start.elapsed)),
        ("cpu_until_files_milliseconds", "CPU until files (ms)", milliseconds(start.cpu)),
        (
            "server_cpu_until_files_milliseconds",
            "the server's CPU until files (ms)",
            milliseconds(start.server_cpu),
        ),
        ("requests_until_files", "requests until files", count(start.requests)),
        ("resident_megabytes", "resident memory (MB)", megabytes(idle.resident)),
        ("peak_megabytes", "peak memory (MB)", megabytes(idle.peak)),
        ("cpu_seconds_per_idle_minute", "CPU seconds per idle minute", cpu),
        ("wake_ups_per_idle_minute", "wake-ups per idle minute", wake_ups),
        ("requests_per_idle_minute", "requests per idle minute", requests),
    ]
    .map(|(quantity, title, value)| Figure::new(quantity, secrets, format!("{title}, {of}"), value))
    .into()
}

/// Returns what idling takes where the policy does not let a folder be listed.
fn unlisted(secrets: usize, idle: &Span) -> [Figure; 3] {
    let [cpu, wake_ups, requests] = idling(idle);
    [
        ("unlisted_cpu_seconds_per_idle_minute", "CPU seconds per idle minute", cpu),
        ("unlisted_wake_ups_per_idle_minute", "wake-ups per idle minute", wake_ups),
        ("unlisted_requests_per_idle_minute", "requests per idle minute", requests),
    ]
    .map(|(quantity, title, value)| {
        Figure::new(quantity, secrets, format!("{title}, {secrets} secrets, no list"), value)
    })
}

/// Returns the CPU seconds, the wake-ups and the requests of a minute.
fn idling(idle: &Span) -> [f64; 3] {
    let minutes = minutes(idle.elapsed);
    [
        idle.cpu.as_secs_f64() / minutes,
        whole_number(idle.wake_ups) / minutes,
        count(idle.requests.len()) / minutes,
    ]
}

fn whole_number(number: u64) -> f64 {
    count(usize::try_from(number).unwrap_or(usize::MAX))
}

const REFRESH: Duration = Duration::from_secs(30);
