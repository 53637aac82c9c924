//! The only source of time: the system's clocks, or ones that a test moves.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time of day and measures spans; cheap to clone.
///
/// Spans and sleeps follow tokio's clock, so that a test with paused time drives both: [`Clock::paused`] derives the time of day
/// from it, too.
#[derive(Clone, Debug)]
pub struct Clock {
    /// One moment on both clocks.
    origin: (Timestamp, Instant),
    paused: bool,
}

impl Clock {
    /// Returns the system's clock.
    pub fn system() -> Self {
        Self { origin: (Timestamp::now(), Instant::now()), paused: false }
    }

    /// Returns a clock that says `now` at this moment and then advances with tokio's (paused) time alone.
    pub fn paused(now: Timestamp) -> Self {
        Self { origin: (now, Instant::now()), paused: true }
    }

    /// Returns the time of day. It never falls behind the time that has passed since the clock was made: when somebody sets the system's
    /// clock back, a lease that ends in five minutes still ends in five minutes. When it jumps ahead (a machine that slept, say), so does this.
    pub fn now(&self) -> Timestamp {
        let (origin, since) = self.origin;
        let passed = later(origin, since.elapsed());
        if self.paused { passed } else { passed.max(Timestamp::now()) }
    }

    /// Returns the moment on the clock that never jumps.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Waits until `deadline`.
    pub async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
    }

    /// Waits until the time of day is `at`.
    pub async fn sleep_until_time(&self, at: Timestamp) {
        loop {
            let left = until(self.now(), at);
            self.sleep_until(self.instant() + left.min(LONGEST_SLEEP)).await;
            if left <= LONGEST_SLEEP {
                return;
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// Returns the time `span` after `at`, or the last one that there is.
pub fn later(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span).ok().and_then(|span| at.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
}

/// Returns how long it is from `from` until `to`; nothing when that has passed.
pub fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

const LONGEST_SLEEP: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_moves_with_paused_time() {
        let clock = Clock::paused(Timestamp::UNIX_EPOCH);
        clock.sleep_until(clock.instant() + Duration::from_secs(90)).await;
        assert_eq!(clock.now(), Timestamp::from_second(90).unwrap());
        clock.sleep_until_time(Timestamp::from_second(200).unwrap()).await;
        assert_eq!(clock.now(), Timestamp::from_second(200).unwrap());
        clock.sleep_until_time(Timestamp::from_second(10).unwrap()).await;
        assert_eq!(clock.now(), Timestamp::from_second(200).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_still_lets_time_pass() {
        let ahead = Clock {
            origin: (later(Timestamp::now(), Duration::from_secs(3600)), Instant::now()),
            paused: false,
        };
        let before = ahead.now();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(until(before, ahead.now()) >= Duration::from_secs(60));
    }
}
