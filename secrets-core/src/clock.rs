//! The only source of time: the system's clocks, or ones that a test moves.

use jiff::Timestamp;
use tokio::time::Instant;

/// Tells the time of day and measures spans; cheap to clone.
///
/// Spans and sleeps follow tokio's clock, so that a test with paused time drives both: [`Clock::paused`] derives the time of day
/// from it, too.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    paused: Option<(Timestamp, Instant)>,
}

impl Clock {
    /// Returns the system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns a clock that says `now` at this moment and then advances with tokio's (paused) time alone.
    pub fn paused(now: Timestamp) -> Self {
        Self { paused: Some((now, Instant::now())) }
    }

    /// Returns the time of day.
    pub fn now(&self) -> Timestamp {
        match self.paused {
            Some((origin, since)) => jiff::SignedDuration::try_from(since.elapsed())
                .ok()
                .and_then(|elapsed| origin.checked_add(elapsed).ok())
                .unwrap_or(Timestamp::MAX),
            None => Timestamp::now(),
        }
    }

    /// Returns the moment on the clock that never jumps.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Waits until `deadline`.
    pub async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_moves_with_paused_time() {
        let clock = Clock::paused(Timestamp::UNIX_EPOCH);
        clock.sleep_until(clock.instant() + Duration::from_secs(90)).await;
        assert_eq!(clock.now(), Timestamp::from_second(90).unwrap());
    }
}
