//! Whether the credentials on disk let somebody in, all the time: a database's short-lived accounts and rotated passwords.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use keywheel_tests::{OpenBao, Postgres, Probe, Sightings};

use crate::contender::Contender;
use crate::figure::{Figure, count, milliseconds, minutes};
use crate::job::{Order, Wanted};
use crate::measure::{POLICY, Running, Span};
use crate::options::Options;
use crate::report::Report;
use crate::section::Section;

/// Measures one short-lived account and one rotated password, both logged in with all the time.
pub(crate) fn measure(options: &Options, report: &mut Report<'_>) {
    let (server, postgres) = (OpenBao::start(), Arc::new(Postgres::start()));
    server.enable_database(&postgres);
    server.dynamic_role("app", DEFAULT_TTL, MAX_TTL);
    server.static_role(&postgres, "st", "bench_static", ROTATION_PERIOD);
    server.policy(POLICY, RULES);
    for round in 0..options.rounds {
        for contender in options.in_turn(round) {
            eprintln!("round {} of {}: {contender}, credentials", round + 1, options.rounds);
            let figures = run(&server, &postgres, contender, options.span);
            report.add(Section::Dynamic, contender, figures);
        }
    }
}

fn run(server: &OpenBao, postgres: &Arc<Postgres>, contender: Contender, span: Duration) -> Vec<Figure> {
    let files = vec![Wanted::account(DYNAMIC, "creds/app"), Wanted::account(STATIC, "static-creds/st")];
    let running = Running::start(server, contender, &Order { files, refresh: REFRESH });
    let (seen, [dynamic, fixed]) = running.watch(|| {
        let probes = [DYNAMIC, STATIC].map(|name| Probe::start(postgres, &running.file(name), PACE));
        thread::sleep(span);
        probes.map(Probe::finish)
    });
    running.end();
    for (name, validity) in [(DYNAMIC, &dynamic), (STATIC, &fixed)] {
        if let Some(longest) = validity.longest() {
            eprintln!("  {name}: {} times invalid; the longest: {longest}", validity.windows.len());
        }
    }
    figures(&seen, &dynamic, &fixed)
}

fn figures(seen: &Span, dynamic: &Sightings, fixed: &Sightings) -> Vec<Figure> {
    let minted = seen.requests.iter().filter(|request| request.path.starts_with("database/creds/")).count();
    let figure = |quantity, title: &str, value| Figure::new(quantity, 1, title, value);
    vec![
        figure("dynamic_probes", "dynamic role: logins tried", count(dynamic.probes)),
        figure("dynamic_failed_probes", "dynamic role: logins failed", count(dynamic.failed)),
        figure("dynamic_overtaken_probes", "dynamic role: logins overtaken", count(dynamic.overtaken)),
        figure(
            "dynamic_longest_invalid_milliseconds",
            "dynamic role: longest invalid (ms)",
            milliseconds(dynamic.longest_gap()),
        ),
        figure(
            "dynamic_invalid_milliseconds",
            "dynamic role: invalid in all (ms)",
            milliseconds(dynamic.invalid()),
        ),
        figure("dynamic_minted", "dynamic role: credentials minted after the first", count(minted)),
        figure("static_probes", "static role: logins tried", count(fixed.probes)),
        figure("static_failed_probes", "static role: logins failed", count(fixed.failed)),
        figure("static_overtaken_probes", "static role: logins overtaken", count(fixed.overtaken)),
        figure(
            "static_longest_invalid_milliseconds",
            "static role: longest invalid (ms)",
            milliseconds(fixed.longest_gap()),
        ),
        figure(
            "static_invalid_milliseconds",
            "static role: invalid in all (ms)",
            milliseconds(fixed.invalid()),
        ),
        figure("static_rotations", "static role: rotations seen", count(fixed.changes)),
        figure(
            "requests_per_minute",
            "requests per minute",
            count(seen.requests.len()) / minutes(seen.elapsed),
        ),
    ]
}

const DYNAMIC: &str = "dynamic";
const STATIC: &str = "static";
const DEFAULT_TTL: Duration = Duration::from_secs(6);
const MAX_TTL: Duration = Duration::from_secs(20);
const ROTATION_PERIOD: Duration = Duration::from_secs(5);
/// Between two logins.
const PACE: Duration = Duration::from_millis(100);
/// Nothing here is polled at this pace: leases and rotations set their own.
const REFRESH: Duration = Duration::from_secs(30);

const RULES: &str = r#"
path "database/creds/app" { capabilities = ["read"] }
path "database/static-creds/st" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;
