//! The standing of the deliveries as Prometheus metrics (text format 0.0.4). Labels are names from the configuration, nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use keywheel_core::engine::{SecretStatus, Status};
use keywheel_core::meter::Reading;

/// Writes all metrics.
pub(super) fn write(status: &Status) -> String {
    let mut out = begin();
    family(
        &mut out,
        "keywheel_ready",
        "Whether the delivery has a generation and nothing in it has ended or is staler than it may be.",
    );
    for delivery in &status.deliveries {
        let ready = f64::from(u8::from(delivery.is_ready()));
        line(&mut out, "keywheel_ready", &format!("delivery=\"{}\"", delivery.name), ready);
    }
    family(
        &mut out,
        "keywheel_rejected",
        "Whether the newest versions were rejected and are not tried again.",
    );
    for delivery in &status.deliveries {
        let rejected = f64::from(u8::from(delivery.rejected.is_some()));
        line(&mut out, "keywheel_rejected", &format!("delivery=\"{}\"", delivery.name), rejected);
    }
    typed(&mut out, "keywheel_rollbacks_total", "How often an earlier generation came back.", "counter");
    for delivery in &status.deliveries {
        let labels = format!("delivery=\"{}\"", delivery.name);
        line(&mut out, "keywheel_rollbacks_total", &labels, delivery.rollbacks as f64);
    }
    generations(&mut out, status);
    providers(&mut out, &status.providers);
    for (name, help, value) in FAMILIES {
        family(&mut out, name, help);
        for delivery in &status.deliveries {
            for secret in &delivery.secrets {
                if let Some(value) = value(secret, status.at) {
                    let labels = format!("delivery=\"{}\",secret=\"{}\"", delivery.name, secret.name);
                    line(&mut out, name, &labels, value);
                }
            }
        }
    }
    out
}

/// Begins with what is said of every program.
pub(crate) fn begin() -> String {
    let mut out = String::new();
    family(&mut out, "keywheel_build_info", "The version that runs.");
    line(&mut out, "keywheel_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1.0);
    out
}

/// Tells generations apart: their names are no numbers, the moments at which they became visible are.
fn generations(out: &mut String, status: &Status) {
    family(
        out,
        "keywheel_generation",
        "When the generation that readers see became visible, in Unix seconds.",
    );
    for delivery in &status.deliveries {
        if let Some(at) = delivery.delivered_at {
            line(out, "keywheel_generation", &format!("delivery=\"{}\"", delivery.name), seconds(at));
        }
    }
}

fn providers(out: &mut String, providers: &BTreeMap<String, Reading>) {
    const DURATION: &str = "keywheel_fetch_duration_seconds";
    typed(
        out,
        DURATION,
        "How long reads of the provider took, waiting for the budget included.",
        "histogram",
    );
    for (name, Reading { reads, within, seconds, .. }) in providers {
        let provider = format!("provider=\"{name}\"");
        let bounds = within.iter().map(|(bound, count)| (bound.to_string(), count));
        for (bound, count) in bounds.chain([("+Inf".to_owned(), reads)]) {
            line(out, &format!("{DURATION}_bucket"), &format!("{provider},le=\"{bound}\""), *count as f64);
        }
        line(out, &format!("{DURATION}_sum"), &provider, *seconds);
        line(out, &format!("{DURATION}_count"), &provider, *reads as f64);
    }
    const ERRORS: &str = "keywheel_provider_errors_total";
    typed(out, ERRORS, "How many calls of the provider failed, by the kind of the failure.", "counter");
    for (name, reading) in providers {
        for (kind, count) in &reading.errors {
            line(out, ERRORS, &format!("provider=\"{name}\",kind=\"{kind}\""), *count as f64);
        }
    }
}

type Measure = fn(&SecretStatus, Timestamp) -> Option<f64>;

const FAMILIES: [(&str, &str, Measure); 6] = [
    ("keywheel_secret_age_seconds", "How long ago the source last confirmed the value.", |secret, now| {
        Some(now.duration_since(secret.confirmed_at?).as_secs_f64().max(0.0))
    }),
    ("keywheel_last_refresh_timestamp_seconds", "When the source last confirmed the value.", |secret, _| {
        secret.confirmed_at.map(seconds)
    }),
    ("keywheel_lease_deadline_timestamp_seconds", "When the value ends.", |secret, _| {
        secret.lease_deadline.map(seconds)
    }),
    ("keywheel_stale", "Whether the value is staler than it may be.", |secret, _| {
        Some(f64::from(u8::from(secret.stale)))
    }),
    ("keywheel_ended", "Whether the value has ended and there is no newer one.", |secret, _| {
        Some(f64::from(u8::from(secret.ended)))
    }),
    ("keywheel_failed_attempts", "How many reads failed in a row.", |secret, _| {
        Some(f64::from(secret.failures))
    }),
];

pub(crate) fn family(out: &mut String, name: &str, help: &str) {
    typed(out, name, help, "gauge");
}

pub(crate) fn typed(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a String does not fail.
    write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
}

pub(crate) fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    // Writing to a String does not fail.
    writeln!(out, "{name}{{{labels}}} {value}").ok();
}

pub(crate) fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
