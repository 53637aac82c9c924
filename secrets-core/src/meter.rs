//! Counts what a provider is asked, how long its answers take, and what fails: names and numbers, never a value.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Result};

/// What one provider was asked since the program began, or took up its configuration.
#[derive(Debug, Default)]
pub struct Meter {
    /// Reads by the first bound that they kept; the last place is for those that kept none.
    reads: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

/// How a [`Meter`] stands.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Reading {
    /// How many reads there were.
    pub reads: u64,
    /// How many of them took no longer than so many seconds, for each of some bounds.
    pub within: Vec<(f64, u64)>,
    /// How long all reads took together, in seconds.
    pub seconds: f64,
    /// How many calls failed, by the kind of the error.
    pub errors: BTreeMap<String, u64>,
}

/// The bounds of answers, in milliseconds: from a server beside the program to one that is about to be given up on.
const BOUNDS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

impl Meter {
    /// Counts a read.
    pub(crate) fn note_read<T>(&self, took: Duration, result: &Result<T>) {
        let place = BOUNDS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.reads[place.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.note(result);
    }

    /// Counts a call that is no read: of a lease, say.
    pub(crate) fn note<T>(&self, result: &Result<T>) {
        if let Err(error) = result {
            self.note_error(error.kind());
        }
    }

    fn note_error(&self, kind: ErrorKind) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(kind.as_str()).or_default() += 1;
    }

    /// Returns how it stands.
    pub fn reading(&self) -> Reading {
        let counts = self.reads.each_ref().map(|count| count.load(Ordering::Relaxed));
        let within = BOUNDS.iter().zip(counts).scan(0, |sum, (millis, count)| {
            *sum += count;
            Some((*millis as f64 / 1_000.0, *sum))
        });
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        Reading {
            reads: counts.iter().sum(),
            within: within.collect(),
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
            errors: errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn reads_are_counted_with_the_quicker_ones_and_errors_by_kind() {
        let meter = Meter::default();
        for millis in [1, 5, 6, 9_000] {
            meter.note_read(Duration::from_millis(millis), &Ok(()));
        }
        let gone: Result<()> = Err(Error::new(ErrorKind::NotFound, "read", "gone"));
        meter.note(&gone);
        meter.note_read(Duration::from_millis(70), &gone);
        let Reading { reads, within, seconds, errors } = meter.reading();
        let counts: Vec<u64> = within.iter().map(|(_, count)| *count).collect();
        assert_eq!((reads, counts.as_slice()), (5, &[2, 3, 3, 3, 4, 4, 4, 4, 4, 4][..]));
        assert!((seconds - 9.082).abs() < 1e-9, "{seconds}");
        assert_eq!(errors, [("not found".to_owned(), 2)].into());
    }
}
