//! What a program costs: its start, its memory, its idling.

use std::time::Duration;

use keywheel_tests::OpenBao;

use crate::figure::{Figure, count, megabytes, milliseconds, minutes};
use crate::job::{self, Order};
use crate::measure::{POLICY, Running, Span};
use crate::options::Options;
use crate::report::Report;
use crate::section::Section;

/// Measures one secret and many, in turn.
pub(crate) fn measure(options: &Options, report: &mut Report<'_>) {
    let server = OpenBao::start();
    job::write_secrets(&server, options.secrets);
    server.policy(POLICY, RULES);

    // The first start of a program reads it from the disk, which is nobody's merit.
    for contender in &options.contenders {
        Running::start(&server, *contender, &Order::of_secrets(1, REFRESH)).end();
    }
    for round in 0..options.rounds {
        for secrets in [1, options.secrets] {
            let order = Order::of_secrets(secrets, REFRESH);
            for contender in options.in_turn(round) {
                eprintln!("round {} of {}: {contender}, secrets: {secrets}", round + 1, options.rounds);
                let running = Running::start(&server, contender, &order);
                let idle = running.watch_idle(options.idle);
                report.add(Section::Footprint, contender, figures(secrets, &running, &idle));
                running.end();
            }
        }
    }
    for contender in &options.contenders {
        let bytes = contender.program().metadata().expect("the program").len();
        let size = Figure::new("program_megabytes", 0, "program (MB)", megabytes(bytes));
        report.add(Section::Footprint, *contender, [size]);
    }
}

fn figures(secrets: usize, Running { start, .. }: &Running<'_>, idle: &Span) -> [Figure; 6] {
    let of = if secrets == 1 { "1 secret".into() } else { format!("{secrets} secrets") };
    let minutes = minutes(idle.elapsed);
    let figure = |quantity, title, value| Figure::new(quantity, secrets, title, value);
    [
        figure(
            "start_to_files_milliseconds",
            format!("start to files, {of} (ms)"),
            milliseconds(start.elapsed),
        ),
        figure(
            "cpu_until_files_milliseconds",
            format!("CPU until files, {of} (ms)"),
            milliseconds(start.cpu),
        ),
        figure("requests_until_files", format!("requests until files, {of}"), count(start.requests)),
        figure("resident_megabytes", format!("resident memory, {of} (MB)"), megabytes(idle.resident)),
        figure(
            "cpu_seconds_per_idle_minute",
            format!("CPU seconds per idle minute, {of}"),
            idle.cpu.as_secs_f64() / minutes,
        ),
        figure(
            "requests_per_idle_minute",
            format!("requests per idle minute, {of}"),
            count(idle.requests.len()) / minutes,
        ),
    ]
}

const REFRESH: Duration = Duration::from_secs(30);

/// The least that both need.
const RULES: &str = r#"
path "secret/data/bench/*" { capabilities = ["read"] }
path "secret/metadata/bench/*" { capabilities = ["read"] }
"#;
