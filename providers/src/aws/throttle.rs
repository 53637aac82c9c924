//! Holds everything back after AWS has asked to be asked less often.
//!
//! What is throttled is the account, not the one request: while others go on asking, none gets through. So the first refusal holds all calls of
//! the provider back, the next one for twice as long, and each success takes one doubling away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keywheel_core::{Clock, Error, ErrorKind, Result};
use tokio::time::Instant;

/// What the calls of one provider know of being throttled.
#[derive(Debug)]
pub(super) struct Throttle {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Hold>,
    strikes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    since: Instant,
    until: Instant,
}

impl Throttle {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Lets a call through, and returns when it was.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`] with the time after which calls are let through again.
    pub(super) fn pass(&self, operation: &'static str) -> Result<Instant> {
        let now = self.clock.instant();
        match self.state().held.filter(|held| held.until > now) {
            None => Ok(now),
            Some(held) => {
                let reason = "AWS has asked to be asked less often; nothing is sent for a moment";
                Err(Error::new(ErrorKind::RateLimited, operation, reason)
                    .with_retry_after(Some(held.until - now)))
            }
        }
    }

    /// Notes that a call let through at `passed_at` was throttled; `asked` is what the answer wants. Returns how long calls are held back.
    pub(super) fn refused(&self, passed_at: Instant, asked: Option<Duration>) -> Duration {
        let now = self.clock.instant();
        let mut state = self.state();
        // Calls that were under way together are one refusal.
        if state.held.is_none_or(|held| passed_at > held.since) {
            state.strikes = (state.strikes + 1).min(MOST_STRIKES);
            let bound = FIRST * 2_u32.pow(state.strikes - 1);
            let wait = bound.mul_f64(0.5 + 0.5 * fastrand::f64()).max(asked.unwrap_or_default());
            state.held = Some(Hold { since: now, until: now + wait });
        }
        state.held.map_or(Duration::ZERO, |held| held.until.saturating_duration_since(now))
    }

    /// Notes that a call was answered.
    pub(super) fn answered(&self, passed_at: Instant) {
        let mut state = self.state();
        if state.held.is_some_and(|held| passed_at >= held.until) {
            state.strikes = state.strikes.saturating_sub(1);
            state.held = state.held.filter(|_| state.strikes > 0);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest first wait; it doubles from there.
const FIRST: Duration = Duration::from_secs(1);
/// Waits of at most 32 s.
const MOST_STRIKES: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_all_calls_and_repeated_ones_hold_longer() {
        let throttle = Throttle::new(Clock::system());
        let mut longest = Duration::ZERO;
        for strike in 0..10 {
            let passed = throttle.pass("read").unwrap();
            let wait = throttle.refused(passed, None);
            let bound = FIRST * 2_u32.pow(strike.min(MOST_STRIKES - 1));
            assert!(wait >= bound / 2 && wait <= bound, "{strike}: {wait:?}");
            assert_eq!(throttle.refused(passed, None), wait, "under way together");
            let held = throttle.pass("read").unwrap_err();
            assert_eq!((held.kind(), held.retry_after()), (ErrorKind::RateLimited, Some(wait)));
            tokio::time::sleep(wait).await;
            longest = longest.max(wait);
        }
        for _ in 0..MOST_STRIKES {
            throttle.answered(throttle.pass("read").unwrap());
        }
        let wait = throttle.refused(throttle.pass("read").unwrap(), None);
        assert!(wait <= FIRST && longest > 8 * FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_before_a_hold_does_not_lift_it_and_a_servers_wish_is_kept() {
        let throttle = Throttle::new(Clock::system());
        let (first, second) = (throttle.pass("read").unwrap(), throttle.pass("read").unwrap());
        let asked = Duration::from_secs(60);
        assert_eq!(throttle.refused(first, Some(asked)), asked);
        throttle.answered(second);
        assert_eq!(throttle.pass("read").unwrap_err().retry_after(), Some(asked));
    }
}
