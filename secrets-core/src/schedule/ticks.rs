//! The moments at which the secrets of one group are asked for together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{later, until};

/// A grid of moments for each interval, the same for everybody who has a copy: what is asked for at one moment can be answered with one
/// request.
///
/// Two neighbours are 80 to 100 % of the interval apart, so that a change is seen within it and replicas drift apart. The first one is that far from the origin:
/// what was read for the first time just now is not asked for again while others still wait for their first read.
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
        (index.saturating_sub(1).max(1)..)
            .map(|index| self.tick(index, refresh, step))
            .find(|at| *at > now)
            .unwrap_or(now)
    }

    /// Returns a moment that is at most a twentieth of the interval before `at`, and at most a second: many that have requests of their own send them at few such
    /// moments, and a program that sleeps wakes up for those.
    pub fn together(&self, refresh: Duration, at: Timestamp) -> Timestamp {
        let step = (refresh / 20).min(Duration::from_secs(1));
        let passed = until(self.origin, at);
        let Some(early) = passed.as_nanos().checked_rem(step.as_nanos()) else { return at };
        let early = Duration::from_nanos(u64::try_from(early).unwrap_or_default());
        later(self.origin, passed.saturating_sub(early))
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

    proptest! {
        #[test]
        fn none_is_sooner_after_the_origin_than_others_are_apart(
            seed: u64, millis in 100u64..86_400_000, part in 0.0..0.9,
        ) {
            let ticks = Ticks::new(Timestamp::UNIX_EPOCH, seed);
            let refresh = Duration::from_millis(millis);
            let first = ticks.next(refresh, later(Timestamp::UNIX_EPOCH, refresh.mul_f64(part)));
            let wait = until(Timestamp::UNIX_EPOCH, first);
            prop_assert!(wait >= refresh.mul_f64(0.89) && wait <= refresh, "{wait:?} of {refresh:?}");
        }

        #[test]
        fn those_that_are_due_one_after_the_other_come_together_and_a_little_before(
            millis in 100u64..86_400_000, due in proptest::collection::vec(0u64..1000, 2..40),
        ) {
            let ticks = Ticks::new(Timestamp::UNIX_EPOCH, 7);
            let (refresh, step) = (Duration::from_millis(millis), Duration::from_millis(millis / 20).min(Duration::from_secs(1)));
            let mut moments = std::collections::BTreeSet::new();
            for part in due {
                let at = later(Timestamp::UNIX_EPOCH, refresh + step.mul_f64(part as f64 / 1000.0));
                let together = ticks.together(refresh, at);
                prop_assert!(together <= at && until(together, at) <= step + Duration::from_millis(1));
                moments.insert(together);
            }
            prop_assert!(moments.len() <= 2, "{moments:?}");
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
