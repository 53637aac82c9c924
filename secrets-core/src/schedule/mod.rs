//! When next: pure decisions about time, without a clock and without I/O.
//!
//! Each function takes what happened and a random number `unit` from `[0, 1)`, and returns a wait or a moment. The loops in
//! [`keeper`](crate::keeper) and [`engine`](crate::engine) perform them. [`Standing`] is about secrets that end,
//! [`Timing`] about changes that wait for their window.

mod cron;
mod ticks;
mod upkeep;
mod window;

use std::time::Duration;

pub use self::cron::{Cron, CronError};
pub use self::ticks::Ticks;
pub use self::upkeep::{Standing, Step, lead, renew_after};
pub use self::window::{Timing, Window, splay};

/// The longest wait after a temporary failure: an outage that is over is noticed within this time, whatever the refresh interval.
pub const LONGEST_TEMPORARY: Duration = Duration::from_secs(30);
/// The pace at which permanent failures settle, unless the refresh interval is longer.
pub const PERMANENT_PACE: Duration = Duration::from_secs(60);

/// How a read failed, as far as the wait after it depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Whether the same request may succeed later without anybody changing anything.
    pub temporary: bool,
    /// How many reads failed in a row, this one included.
    pub count: u32,
    /// How long the source asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// Returns the wait after a good read: 80 to 100 % of `refresh`, so that a change is seen within `refresh` and replicas drift apart. [`Ticks::together`] may have it end a little sooner.
pub fn after_success(refresh: Duration, unit: f64) -> Duration {
    refresh.mul_f64(0.8 + 0.2 * unit)
}

/// Returns the wait after a failed read.
///
/// It doubles with each failure, from one second (or from `refresh`, where nothing but an edit elsewhere helps) to
/// [`LONGEST_TEMPORARY`] (or [`PERMANENT_PACE`], or `refresh` where that is longer); its second half is random. It is never
/// shorter than what the source asked for.
pub fn after_failure(failure: Failure, refresh: Duration, unit: f64) -> Duration {
    let (first, longest) = match failure.temporary {
        true => (Duration::from_secs(1), LONGEST_TEMPORARY),
        false => (refresh.max(Duration::from_secs(1)), PERMANENT_PACE.max(refresh)),
    };
    let bound = first.saturating_mul(1 << failure.count.saturating_sub(1).min(16)).min(longest);
    let wait = bound.mul_f64(0.5 + 0.5 * unit);
    match failure.retry_after {
        Some(asked) => wait.max(asked.min(LONGEST_RETRY_AFTER).mul_f64(1.0 + 0.1 * unit)),
        None => wait,
    }
}

/// The longest that a source's `Retry-After` is believed: a wrong header must not silence a secret for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        #[test]
        fn a_change_is_seen_within_refresh(millis in 100u64..86_400_000, unit in 0.0..1.0f64) {
            let refresh = Duration::from_millis(millis);
            let wait = after_success(refresh, unit);
            prop_assert!(wait <= refresh && wait >= refresh.mul_f64(0.79));
        }

        #[test]
        fn failures_never_run_hot_and_never_sleep_for_ever(
            temporary: bool, count in 1u32..=u32::MAX, millis in 100u64..86_400_000, unit in 0.0..1.0f64,
            retry_after in proptest::option::of(0u64..1_000_000),
        ) {
            let (refresh, retry_after) = (Duration::from_millis(millis), retry_after.map(Duration::from_secs));
            let wait = after_failure(Failure { temporary, count, retry_after }, refresh, unit);
            prop_assert!(wait >= SECOND / 2);
            let longest = if temporary { LONGEST_TEMPORARY } else { PERMANENT_PACE.max(refresh) };
            prop_assert!(wait <= longest.max(LONGEST_RETRY_AFTER.mul_f64(1.1)));
            if let Some(asked) = retry_after {
                prop_assert!(wait >= asked.min(LONGEST_RETRY_AFTER));
            }
        }

        #[test]
        fn each_failure_waits_at_least_as_long_as_the_one_before(
            temporary: bool, count in 1u32..100, millis in 100u64..600_000, unit in 0.0..1.0f64,
        ) {
            let refresh = Duration::from_millis(millis);
            let wait = |count| after_failure(Failure { temporary, count, retry_after: None }, refresh, unit);
            prop_assert!(wait(count) <= wait(count + 1));
        }
    }

    #[test]
    fn a_permanent_failure_costs_little_over_an_hour() {
        let refresh = SECOND;
        let (mut elapsed, mut count) = (Duration::ZERO, 0);
        while elapsed < Duration::from_secs(3600) {
            count += 1;
            elapsed += after_failure(Failure { temporary: false, count, retry_after: None }, refresh, 0.0);
        }
        assert!(count < 130, "{count} reads in an hour");
    }
}
