//! When a rotation is looked at again.

use std::time::Duration;

use jiff::Timestamp;

use super::rotator::Progress;
use crate::clock::later;
use crate::error::Error;
use crate::schedule::{Failure, after_failure};

/// Counts the failures of one rotation, and spaces the looks at it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    /// Returns when the rotation is looked at again, after what came of it at `now`: when there is more to do, and every few minutes, since somebody else
    /// may have done something; after a failure, later and later. `unit` is random, from 0 to 1.
    pub fn next(&mut self, outcome: Result<&Progress, &Error>, now: Timestamp, unit: f64) -> Timestamp {
        let wake_at = match outcome {
            Ok(progress) => {
                self.failures = 0;
                let latest = later(now, LOOK_AGAIN.mul_f64(0.9 + 0.1 * unit));
                progress.next_at.map_or(latest, |at| at.min(latest))
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let (temporary, retry_after) = (error.is_temporary(), error.retry_after());
                later(
                    now,
                    after_failure(
                        Failure { temporary, count: self.failures, retry_after },
                        SHORTEST_WAIT,
                        unit,
                    ),
                )
            }
        };
        wake_at.max(later(now, BREATH))
    }

    /// Returns how many failures there were in a row.
    pub fn failures(self) -> u32 {
        self.failures
    }
}

/// How soon it is noticed that another rotator, or a person, did something.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
/// Two looks are never closer together.
const BREATH: Duration = Duration::from_millis(100);
