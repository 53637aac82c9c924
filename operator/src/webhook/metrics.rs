//! What the webhook counts, as Prometheus metrics (text format 0.0.4).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// What was answered, and how long that took.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: [AtomicU64; 4],
    micros: AtomicU64,
}

impl Metrics {
    /// Counts an answer: `injected`, `untouched`, `refused`, or anything else for what is no review.
    pub(super) fn count(&self, verdict: &str, took: Duration) {
        let place = VERDICTS.iter().position(|known| *known == verdict).unwrap_or(VERDICTS.len() - 1);
        self.answers[place].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Writes all of it.
    pub(super) fn write(&self, ends_at: Option<Timestamp>) -> String {
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, f64)]| {
            // Writing to a String does not fail.
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
            for (labels, value) in lines {
                writeln!(out, "{name}{labels} {value}").ok();
            }
        };
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        family("keywheel_operator_build_info", "gauge", "The version that runs.", &[(version, 1.0)]);
        let answers: Vec<(String, f64)> = VERDICTS
            .iter()
            .zip(&self.answers)
            .map(|(verdict, count)| {
                (format!("{{verdict=\"{verdict}\"}}"), count.load(Ordering::Relaxed) as f64)
            })
            .collect();
        family("keywheel_operator_reviews_total", "counter", "Reviews that were answered.", &answers);
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        family(
            "keywheel_operator_review_seconds_total",
            "counter",
            "The time that answers took.",
            &[(String::new(), seconds)],
        );
        let ends: Vec<_> = ends_at.iter().map(|at| (String::new(), at.as_second() as f64)).collect();
        family(
            "keywheel_operator_certificate_end_timestamp_seconds",
            "gauge",
            "When the certificate ends.",
            &ends,
        );
        out
    }
}

const VERDICTS: [&str; 4] = ["injected", "untouched", "refused", "malformed"];
