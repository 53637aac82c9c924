//! The standing of the deliveries as Prometheus metrics (text format 0.0.4). Labels are names from the configuration, nothing else.

use std::fmt::Write;

use keywheel_core::engine::{SecretStatus, Status};

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
    for (name, help, value) in FAMILIES {
        family(&mut out, name, help);
        for delivery in &status.deliveries {
            for secret in &delivery.secrets {
                if let Some(value) = value(secret) {
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

type Measure = fn(&SecretStatus) -> Option<f64>;

const FAMILIES: [(&str, &str, Measure); 5] = [
    ("keywheel_last_refresh_timestamp_seconds", "When the source last confirmed the value.", |secret| {
        secret.confirmed_at.map(seconds)
    }),
    ("keywheel_lease_deadline_timestamp_seconds", "When the value ends.", |secret| {
        secret.lease_deadline.map(seconds)
    }),
    ("keywheel_stale", "Whether the value is staler than it may be.", |secret| {
        Some(f64::from(u8::from(secret.stale)))
    }),
    ("keywheel_ended", "Whether the value has ended and there is no newer one.", |secret| {
        Some(f64::from(u8::from(secret.ended)))
    }),
    ("keywheel_failed_attempts", "How many reads failed in a row.", |secret| {
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

pub(crate) fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
