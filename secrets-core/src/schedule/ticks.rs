//! The moments at which the secrets of one group are asked for together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{later, until};

/// A grid of moments for each interval, the same for everybody who has a copy: what is asked for at one moment can be answered with one
/// request.
///
/// Two neighbours are 80 to 100 % of the interval apart, so that a change is seen within it and replicas drift apart.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    origin: Timestamp,
    seed: u64,
}

impl Ticks {
    /// Makes the grids that begin at `origin`; `seed` tells this process from its replicas.
    pub fn new(origin: Timestamp, seed: u64) -> Self {
        Self { origin, seed }
    }

    /// Returns the grids of the group `name`.
    #[must_use]
    pub fn of_group(&self, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (self.seed, name).hash(&mut hasher);
        Self { seed: hasher.finish(), ..*self }
    }

    /// Returns the first moment of the interval's grid after `now`; it is at most `refresh` away.
    pub fn next(&self, refresh: Duration, now: Timestamp) -> Timestamp {
        let step = refresh.mul_f64(0.9);
        if step.is_zero() {
            return now;
        }
        let passed = until(self.origin, now);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of intervals, far below 2^64"
        )]
        let index = (passed.as_secs_f64() / step.as_secs_f64()) as u64;
        (index.saturating_sub(1)..)
            .map(|index| self.tick(index, refresh, step))
            .find(|at| *at > now)
            .unwrap_or(now)
    }

    fn tick(&self, index: u64, refresh: Duration, step: Duration) -> Timestamp {
        let unit = fastrand::Rng::with_seed(self.seed ^ index.wrapping_mul(GOLDEN)).f64();
        #[allow(clippy::cast_precision_loss, reason = "a count of intervals, far below 2^52")]
        let offset = step.mul_f64(index as f64) + refresh.mul_f64(0.1 * unit);
        later(self.origin, offset)
    }
}

/// Spreads neighbouring numbers over all seeds.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn neighbours_are_an_interval_apart_or_a_little_less(
            seed: u64, millis in 100u64..86_400_000, start in 0u64..1_000_000_000,
        ) {
            let ticks = Ticks::new(Timestamp::UNIX_EPOCH, seed).of_group("secret/orders");
            let refresh = Duration::from_millis(millis);
            let mut at = later(Timestamp::UNIX_EPOCH, Duration::from_millis(start));
            let first = ticks.next(refresh, at);
            prop_assert!(first > at && until(at, first) <= refresh);
            at = first;
            for _ in 0..20 {
                let next = ticks.next(refresh, at);
                let gap = until(at, next);
                prop_assert!(gap <= refresh && gap >= refresh.mul_f64(0.79), "{gap:?} of {refresh:?}");
                at = next;
            }
        }
    }

    #[test]
    fn a_group_meets_whenever_its_members_ask_and_others_do_not() {
        let all = Ticks::new(Timestamp::UNIX_EPOCH, 7);
        let (group, refresh) = (all.of_group("a"), Duration::from_secs(30));
        let now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(1000));
        let at = group.next(refresh, now);
        assert_eq!(all.of_group("a").next(refresh, at - jiff::SignedDuration::from_millis(1)), at);
        assert_ne!(all.of_group("b").next(refresh, now), at);
        assert_ne!(Ticks::new(Timestamp::UNIX_EPOCH, 8).of_group("a").next(refresh, now), at);
    }
}
