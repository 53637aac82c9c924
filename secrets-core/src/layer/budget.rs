//! The request budget: a token bucket that every request of a provider takes from.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::clock::Clock;

/// How many requests a provider may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetLimits {
    /// Requests per second, sustained; above 0.
    pub requests_per_second: f64,
    /// Requests at once after a quiet time; at least 1.
    pub burst: u32,
}

impl Default for BudgetLimits {
    /// 50 requests a second and 1,000 at once: a thousand secrets are there at the start without waiting, and nothing can run hot.
    fn default() -> Self {
        Self { requests_per_second: 50.0, burst: 1000 }
    }
}

/// A token bucket: at most `burst + requests_per_second * t` requests in any span of `t` seconds.
///
/// At most [`IN_FLIGHT`](Self::IN_FLIGHT) requests are under way at once, so that a thousand secrets do not open a thousand connections.
/// Waiters are served in the order in which they came.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    clock: Clock,
    bucket: Mutex<Bucket>,
    in_flight: Semaphore,
}

/// The right to have one request under way; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the request counts as done when this is dropped"]
pub struct Permit<'a>(#[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'a>>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Budget {
    /// The most requests under way at once.
    pub const IN_FLIGHT: usize = 8;

    /// Makes a full bucket.
    pub fn new(limits: BudgetLimits, clock: Clock) -> Self {
        let bucket = Bucket { tokens: f64::from(limits.burst), at: clock.instant() };
        Self { limits, clock, bucket: Mutex::new(bucket), in_flight: Semaphore::new(Self::IN_FLIGHT) }
    }

    /// Waits until one more request may be sent.
    ///
    /// # Cancel safety
    /// A dropped call has used its token up: the budget is kept, never exceeded.
    pub async fn acquire(&self) -> Permit<'_> {
        // The semaphore is never closed.
        let permit = self.in_flight.acquire().await.ok();
        let wait = self.take();
        if !wait.is_zero() {
            self.clock.sleep_until(self.clock.instant() + wait).await;
        }
        Permit(permit)
    }

    fn take(&self) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = self.clock.instant();
        let rate = self.limits.requests_per_second;
        let refilled = bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * rate;
        bucket.tokens = refilled.min(f64::from(self.limits.burst)) - 1.0;
        bucket.at = now;
        Duration::from_secs_f64((-bucket.tokens / rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_the_rest_comes_at_the_rate() {
        let budget = Budget::new(BudgetLimits { requests_per_second: 10.0, burst: 5 }, Clock::system());
        let start = Instant::now();
        for _ in 0..25 {
            drop(budget.acquire().await);
        }
        let taken = start.elapsed();
        assert!(taken >= Duration::from_millis(2000) && taken < Duration::from_millis(2100), "{taken:?}");
    }

    proptest! {
        #[test]
        fn no_span_holds_more_than_burst_plus_rate(
            pauses in proptest::collection::vec(0u64..3000, 1..60), burst in 1u32..8, rate in 1u32..20,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let sent: Vec<Instant> = runtime.block_on(async {
                let limits = BudgetLimits { requests_per_second: f64::from(rate), burst };
                let budget = Budget::new(limits, Clock::system());
                let mut sent = Vec::new();
                for pause in pauses {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    drop(budget.acquire().await);
                    sent.push(Instant::now());
                }
                sent
            });
            for (i, from) in sent.iter().enumerate() {
                for (j, to) in sent.iter().enumerate().skip(i) {
                    // tokio's timers round to a millisecond.
                    let span = to.duration_since(*from).as_secs_f64() + 0.002;
                    prop_assert!(((j - i) as f64) <= f64::from(burst) + f64::from(rate) * span);
                }
            }
        }
    }
}
