//! How often something may be done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most so many in any span of that length, each name for itself.
#[derive(Debug)]
pub struct Limit {
    most: usize,
    within: Duration,
    done: Mutex<BTreeMap<String, VecDeque<Instant>>>,
}

impl Limit {
    /// Makes one that allows `most` things, one at least, `within` a span.
    pub fn new(most: usize, within: Duration) -> Self {
        Self { most: most.max(1), within, done: Mutex::default() }
    }

    /// Counts one more of `name`, which is one of few.
    ///
    /// # Errors
    /// It is one too many; the time after which there may be another one.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let done = all.entry(name.to_owned()).or_default();
        while done.front().is_some_and(|at| now.duration_since(*at) >= self.within) {
            done.pop_front();
        }
        match done.front().filter(|_| done.len() >= self.most) {
            Some(oldest) => Err(self.within.saturating_sub(now.duration_since(*oldest))),
            None => {
                done.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_span_holds_more_than_it_may(most in 1usize..5, steps in proptest::collection::vec(0u64..40, 1..80)) {
            let (within, limit) = (Duration::from_secs(60), Limit::new(most, Duration::from_secs(60)));
            let mut now = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async { Instant::now() });
            let mut done: Vec<Instant> = Vec::new();
            for step in steps {
                now += Duration::from_secs(step);
                match limit.take("a", now) {
                    Ok(()) => done.push(now),
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO && wait <= within);
                        prop_assert!(done.iter().filter(|at| now.duration_since(**at) < within).count() == most);
                    }
                }
                prop_assert!(done.iter().filter(|at| now.duration_since(**at) < within).count() <= most);
            }
            prop_assert!(limit.take("b", now).is_ok(), "each name counts for itself");
        }
    }
}
