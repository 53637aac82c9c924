//! The request budget: a token bucket that every request of a provider takes from.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// How many requests a provider may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetLimits {
    /// Requests per second, sustained; above 0.
    pub requests_per_second: f64,
    /// Requests at once after a quiet time; at least 1.
    pub burst: u32,
    /// How many new values of one dynamic secret may be made in an hour; at least 1. Where its values live for so short that this would let them lapse, two may be
    /// made in the life of each.
    pub mints_per_hour: u32,
}

impl Default for BudgetLimits {
    /// 50 requests a second and 1,000 at once: a thousand secrets are there at the start without waiting, and nothing can run hot. Four
    /// new credentials a minute are more than most leases need, and few enough for any database.
    fn default() -> Self {
        Self { requests_per_second: 50.0, burst: 1000, mints_per_hour: 240 }
    }
}

/// A token bucket: at most `burst + requests_per_second * t` requests in any span of `t` seconds.
///
/// At most [`IN_FLIGHT`](Self::IN_FLIGHT) requests are under way at once, so that a thousand secrets do not open a thousand connections.
/// Waiters are served in the order in which they came, but for those that can wait ([`spare`](Self::spare)): they take what the others leave, and a little more where
/// that is nothing.
///
/// Beside the requests, new values of dynamic secrets are counted, each secret for itself: a source that takes a credential back as soon as
/// it has made it is not asked for another one at once.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    clock: Clock,
    bucket: Mutex<Bucket>,
    mints: Mutex<HashMap<String, Mints>>,
    in_flight: Semaphore,
    /// How many of those may be requests that can wait.
    spare: Semaphore,
}

/// The right to have one request under way; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the request counts as done when this is dropped"]
pub struct Permit<'a>(#[expect(dead_code, reason = "held for its drop")] [Option<SemaphorePermit<'a>>; 2]);

/// What may be made of one secret.
#[derive(Debug)]
struct Mints {
    bucket: Bucket,
    /// How many a second its values need, as short as they live.
    needed: f64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Budget {
    /// The most requests under way at once.
    pub const IN_FLIGHT: usize = 8;
    /// The most of them that can wait.
    pub const SPARE_IN_FLIGHT: usize = Self::IN_FLIGHT - 2;
    /// The most new values of one secret at once, after a quiet time.
    pub const MINT_BURST: u32 = 20;

    /// Makes a full bucket.
    pub fn new(limits: BudgetLimits, clock: Clock) -> Self {
        let bucket = Bucket { tokens: f64::from(limits.burst), at: clock.instant() };
        Self {
            limits,
            clock,
            bucket: Mutex::new(bucket),
            mints: Mutex::default(),
            in_flight: Semaphore::new(Self::IN_FLIGHT),
            spare: Semaphore::new(Self::SPARE_IN_FLIGHT),
        }
    }

    /// Takes from what may be made of `secret` in an hour, before the source is asked to make a new value of it.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`], with the time after which the next one may be made.
    pub fn mint(&self, secret: &str) -> Result<()> {
        let burst = f64::from(self.limits.mints_per_hour.min(Self::MINT_BURST));
        let now = self.clock.instant();
        let mut mints = lock(&self.mints);
        let full = || Mints { bucket: Bucket { tokens: burst, at: now }, needed: 0.0 };
        let mints = mints.entry(secret.to_owned()).or_insert_with(full);
        let rate = mints.needed.max(f64::from(self.limits.mints_per_hour) / 3600.0);
        let refilled = mints.bucket.refilled(rate, burst, now);
        if refilled >= 1.0 {
            mints.bucket = Bucket { tokens: refilled - 1.0, at: now };
            return Ok(());
        }
        let reason = format!(
            "no more than {} new values of this secret are made in an hour",
            self.limits.mints_per_hour
        );
        Err(Error::new(ErrorKind::RateLimited, "read", reason)
            .with_retry_after(Some(Duration::from_secs_f64((1.0 - refilled) / rate)))
            .with_help("find out why they do not last; `budget.mints_per_hour` sets the limit"))
    }

    /// Says how long a value of `secret` lives that was made now: another one has to be there before its end, whatever the limit is.
    pub fn minted(&self, secret: &str, life: Duration) {
        if let Some(mints) = lock(&self.mints).get_mut(secret) {
            mints.needed = 2.0 / life.as_secs_f64().max(1.0);
        }
    }

    /// Waits until one more request may be sent.
    ///
    /// # Cancel safety
    /// A dropped call has used its token up: the budget is kept, never exceeded.
    pub async fn acquire(&self) -> Permit<'_> {
        Permit([self.room().await, None])
    }

    /// Waits until one more request may be sent that can wait for those of [`acquire`](Self::acquire), but not for ever: one that was next for a second goes as they do.
    ///
    /// # Cancel safety
    /// As for [`acquire`](Self::acquire).
    pub async fn spare(&self) -> Permit<'_> {
        let spare = self.spare.acquire().await.ok();
        let latest = self.clock.instant() + PATIENCE;
        while let Err(wait) = self.take_if_there() {
            if self.clock.instant() >= latest {
                return Permit([spare, self.room().await]);
            }
            // The last part of a token may be less than a clock can tell.
            self.clock.sleep_until(self.clock.instant() + wait.max(TICK)).await;
        }
        Permit([spare, self.in_flight.acquire().await.ok()])
    }

    /// Waits for a room and for a token, in the order of those who do.
    async fn room(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphores are never closed.
        let room = self.in_flight.acquire().await.ok();
        let wait = self.take();
        if !wait.is_zero() {
            self.clock.sleep_until(self.clock.instant() + wait).await;
        }
        room
    }

    /// Takes a token, perhaps one that is not there yet, and returns when it will be.
    fn take(&self) -> Duration {
        let mut bucket = lock(&self.bucket);
        let tokens = self.refill(&mut bucket) - 1.0;
        bucket.tokens = tokens;
        self.until_there(tokens)
    }

    /// Takes a token that is there, or returns when one may be.
    fn take_if_there(&self) -> Result<(), Duration> {
        let mut bucket = lock(&self.bucket);
        let tokens = self.refill(&mut bucket) - 1.0;
        if tokens < 0.0 {
            return Err(self.until_there(tokens));
        }
        bucket.tokens = tokens;
        Ok(())
    }

    fn refill(&self, bucket: &mut Bucket) -> f64 {
        let now = self.clock.instant();
        let tokens = bucket.refilled(self.limits.requests_per_second, f64::from(self.limits.burst), now);
        *bucket = Bucket { tokens, at: now };
        tokens
    }

    fn until_there(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64((-tokens / self.limits.requests_per_second).max(0.0))
    }
}

const TICK: Duration = Duration::from_millis(1);
/// For how long a request that can wait lets others go first once it is its turn.
const PATIENCE: Duration = Duration::from_secs(1);

impl Bucket {
    fn refilled(&self, rate: f64, burst: f64, now: Instant) -> f64 {
        (self.tokens + now.duration_since(self.at).as_secs_f64() * rate).min(burst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_the_rest_comes_at_the_rate() {
        let budget = Budget::new(
            BudgetLimits { requests_per_second: 10.0, burst: 5, ..BudgetLimits::default() },
            Clock::system(),
        );
        let start = Instant::now();
        for _ in 0..25 {
            drop(budget.acquire().await);
        }
        let taken = start.elapsed();
        assert!(taken >= Duration::from_millis(2000) && taken < Duration::from_millis(2100), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_goes_after_what_cannot() {
        let limits = BudgetLimits { requests_per_second: 10.0, burst: 5, ..BudgetLimits::default() };
        let budget = Budget::new(limits, Clock::system());
        let start = Instant::now();
        let polls = async {
            futures_util::future::join_all((0..100).map(|_| async { drop(budget.spare().await) })).await;
            start.elapsed()
        };
        let renewals = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(237)).await;
                let asked = Instant::now();
                drop(budget.acquire().await);
                assert!(asked.elapsed() <= Duration::from_millis(102), "{:?}", asked.elapsed());
            }
        };
        let (taken, ()) = tokio::join!(polls, renewals);
        assert!(taken >= Duration::from_millis(11_500) && taken < Duration::from_millis(11_600), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_leaves_room_and_is_not_left_out_for_ever() {
        let limits = BudgetLimits { requests_per_second: 10.0, burst: 100, ..BudgetLimits::default() };
        let budget = Budget::new(limits, Clock::system());
        let mut hanging = Vec::new();
        while let Ok(permit) = tokio::time::timeout(Duration::from_millis(1), budget.spare()).await {
            hanging.push(permit);
        }
        assert_eq!(hanging.len(), Budget::SPARE_IN_FLIGHT);
        for _ in 0..90 {
            drop(budget.acquire().await);
        }
        drop(hanging);

        // More than one, so that one is always owed a token.
        let ahead = futures_util::future::join_all((0..3).map(|_| async {
            loop {
                drop(budget.acquire().await);
            }
        }));
        let begun = Instant::now();
        tokio::select! {
            biased;
            _ = ahead => {}
            _permit = async { drop(budget.spare().await); budget.spare().await } => {}
        }
        assert!(begun.elapsed() >= Duration::from_secs(1), "there was a token to spare");
        assert!(begun.elapsed() <= 4 * Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_holds_as_many_new_values_of_a_secret_as_it_may_and_a_first_burst() {
        let budget =
            Budget::new(BudgetLimits { mints_per_hour: 60, ..BudgetLimits::default() }, Clock::system());
        let start = Instant::now();
        let mut made = 0;
        while start.elapsed() < Duration::from_secs(3600) {
            match budget.mint("database/creds/orders") {
                Ok(()) => made += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::RateLimited);
                    tokio::time::sleep(error.retry_after().unwrap() + Duration::from_millis(1)).await;
                }
            }
        }
        assert!((75..=81).contains(&made), "{made}");
        assert!(budget.mint("database/creds/other").is_ok(), "each secret counts for itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lived_secret_is_made_as_often_as_it_needs_and_no_more_than_twice_that() {
        let budget = Budget::new(BudgetLimits::default(), Clock::system());
        let life = Duration::from_secs(5);
        let mint =
            || budget.mint("database/creds/orders").map(|()| budget.minted("database/creds/orders", life));
        for _ in 0..1000 {
            mint().unwrap();
            tokio::time::sleep(life * 3 / 4).await;
        }
        let (start, mut made) = (Instant::now(), 0);
        while start.elapsed() < 100 * life {
            match mint() {
                Ok(()) => made += 1,
                Err(error) => {
                    tokio::time::sleep(error.retry_after().unwrap() + Duration::from_millis(1)).await
                }
            }
        }
        assert!((200..=221).contains(&made), "{made}");
    }

    proptest! {
        #[test]
        fn no_span_holds_more_than_burst_plus_rate(
            pauses in proptest::collection::vec((0u64..3000, any::<bool>()), 1..60), burst in 1u32..8, rate in 1u32..20,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let sent: Vec<Instant> = runtime.block_on(async {
                let limits = BudgetLimits { requests_per_second: f64::from(rate), burst, ..BudgetLimits::default() };
                let budget = Budget::new(limits, Clock::system());
                let mut sent = Vec::new();
                for (pause, can_wait) in pauses {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    drop(if can_wait { budget.spare().await } else { budget.acquire().await });
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
