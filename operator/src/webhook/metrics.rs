//! What the webhook counts, as Prometheus metrics (text format 0.0.4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::metrics::Families;

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
        let mut families = Families::begin();
        let counted = VERDICTS.iter().zip(&self.answers);
        let answers = counted.map(|(verdict, count)| {
            (format!("{{verdict=\"{verdict}\"}}"), count.load(Ordering::Relaxed) as f64)
        });
        families.add("keywheel_operator_reviews_total", "counter", "Reviews that were answered.", answers);
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        families.add(
            "keywheel_operator_review_seconds_total",
            "counter",
            "The time that answers took.",
            [(String::new(), seconds)],
        );
        families.add(
            "keywheel_operator_certificate_end_timestamp_seconds",
            "gauge",
            "When the certificate ends.",
            ends_at.map(|at| (String::new(), at.as_second() as f64)),
        );
        families.finish()
    }
}

const VERDICTS: [&str; 4] = ["injected", "untouched", "refused", "malformed"];
