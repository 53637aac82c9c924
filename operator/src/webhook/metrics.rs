//! What the webhook counts, as Prometheus metrics (text format 0.0.4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::metrics::Families;

/// What was answered, and how long that took.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: [AtomicU64; 4],
    /// How many of them took no longer than each of [`BOUNDS`].
    within: [AtomicU64; BOUNDS.len()],
    timed: AtomicU64,
    micros: AtomicU64,
}

impl Metrics {
    /// Counts an answer: `injected`, `untouched`, `refused`, or anything else for what is no review.
    pub(super) fn count(&self, verdict: &str) {
        let place = VERDICTS.iter().position(|known| *known == verdict).unwrap_or(VERDICTS.len() - 1);
        self.answers[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the time from a question that is there to its answer.
    pub(super) fn time(&self, took: Duration) {
        self.timed.fetch_add(1, Ordering::Relaxed);
        for (bound, count) in BOUNDS.iter().zip(&self.within) {
            count.fetch_add((took.as_secs_f64() <= *bound).into(), Ordering::Release);
        }
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
        families.add(
            "keywheel_operator_review_duration_seconds",
            "histogram",
            "How long answers took, from the last byte of the question to the first of the answer.",
            self.durations(),
        );
        families.add(
            "keywheel_operator_certificate_end_timestamp_seconds",
            "gauge",
            "When the certificate ends.",
            ends_at.map(|at| (String::new(), at.as_second() as f64)),
        );
        families.finish()
    }

    /// Returns the lines of the histogram.
    fn durations(&self) -> impl Iterator<Item = (String, f64)> {
        let within = BOUNDS.iter().zip(&self.within).map(|(bound, count)| {
            (format!("_bucket{{le=\"{bound}\"}}"), count.load(Ordering::Acquire) as f64)
        });
        // Counted before the others, and read after them: none of those is larger.
        let within: Vec<_> = within.collect();
        let timed = self.timed.load(Ordering::Acquire) as f64;
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let all = [("_bucket{le=\"+Inf\"}", timed), ("_sum", seconds), ("_count", timed)];
        within.into_iter().chain(all.map(|(line, value)| (line.to_owned(), value)))
    }
}

/// Seconds: most answers take a part of a millisecond.
const BOUNDS: [f64; 8] = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1];
const VERDICTS: [&str; 4] = ["injected", "untouched", "refused", "malformed"];
