//! How long credentials last, and when to ask for others: pure decisions.

use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use keywheel_core::Error;
use keywheel_core::clock::{later, until};
use keywheel_core::schedule::{self, Failure};

/// The life of credentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    began_at: Timestamp,
    /// Nothing where they do not say that they end.
    ends_at: Option<Timestamp>,
    /// Spreads replicas.
    unit: f64,
}

impl Life {
    /// Reads the life of credentials that were asked for at `began_at`.
    pub(super) fn of(credentials: &Credentials, began_at: Timestamp) -> Self {
        let ends_at = credentials.expiry().and_then(|at| Timestamp::try_from(at).ok());
        Self { began_at, ends_at, unit: fastrand::f64() }
    }

    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at
    }

    /// Returns when to ask for others: when 70 to 75 % of the life are over.
    pub(super) fn renew_at(&self) -> Option<Timestamp> {
        self.at(0.7 + 0.05 * self.unit)
    }

    /// Tells whether nothing needs to be done at `now`.
    pub(super) fn is_young(&self, now: Timestamp) -> bool {
        self.renew_at().is_none_or(|at| now < at)
    }

    /// Tells whether whoever needs credentials at `now` takes these as they are. Between this and [`renew_at`](Self::renew_at) is the time in which they
    /// are renewed in the background, and nobody waits.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.at(0.85).is_none_or(|at| now < at)
    }

    /// Tells whether AWS takes them at `now`.
    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        self.at(0.98).is_none_or(|at| now < at)
    }

    /// Returns for how long AWS takes them from `now` on; nothing where that has passed.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        self.at(0.98).map_or(Duration::ZERO, |end| until(now, end))
    }

    /// Tells whether others could be had by asking again.
    pub(super) fn is_old(&self, now: Timestamp) -> bool {
        now >= later(self.began_at, SHORTEST)
    }

    fn at(&self, part: f64) -> Option<Timestamp> {
        let span = until(self.began_at, self.ends_at?);
        Some(later(self.began_at, span.mul_f64(part)))
    }
}

/// A time in which no new credentials are to be had.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    error: Error,
    failures: u32,
    over_at: Timestamp,
}

impl Outage {
    /// Returns how an outage goes on (or begins) with a failure at `now`, while the credentials from before are good for `left`. Near their end
    /// the next attempt is never further away than a quarter of that, unless AWS wants to be left alone.
    pub(super) fn after(before: Option<Self>, error: Error, left: Duration, now: Timestamp) -> Self {
        let failures = before.map_or(0, |outage| outage.failures).saturating_add(1);
        // Temporary for the wait, whatever it is: an edit in AWS's own account may mend it, and each login is one small request.
        let failure = Failure { temporary: true, count: failures, retry_after: error.retry_after() };
        let wait = schedule::after_failure(failure, Duration::ZERO, fastrand::f64());
        let wait = match left.is_zero() {
            true => wait,
            false => wait.min((left / 4).max(QUICKEST)).max(error.retry_after().unwrap_or_default()),
        };
        Self { error, failures, over_at: later(now, wait) }
    }

    /// Returns the error that stands for a login at `now`, if none is to be tried.
    pub(super) fn error_at(&self, now: Timestamp) -> Option<Error> {
        (now < self.over_at).then(|| self.error.clone())
    }

    pub(super) fn over_at(&self) -> Timestamp {
        self.over_at
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Tells whether a log is to hold this failure: the first one, and then one for each doubling.
    pub(super) fn is_worth_a_word(&self) -> bool {
        self.failures.is_power_of_two()
    }
}

/// Credentials that are younger than this are not asked for again because AWS does not take them: a new role may not be known everywhere yet.
const SHORTEST: Duration = Duration::from_secs(2);

/// The shortest wait between two logins of which the first failed.
const QUICKEST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use keywheel_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn life(seconds: Option<u64>) -> Life {
        let ends = seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        Life::of(&Credentials::new("id", "key", None, ends, "test"), Timestamp::UNIX_EPOCH)
    }

    fn at(seconds: f64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs_f64(seconds))
    }

    proptest! {
        #[test]
        fn credentials_are_renewed_before_anybody_waits_and_nobody_waits_while_they_are_good(seconds in 10u64..100_000) {
            let life = life(Some(seconds));
            let renew_at = life.renew_at().unwrap();
            prop_assert!(life.is_fresh(renew_at) && life.is_good(renew_at) && !life.is_young(renew_at));
            let end = at(seconds as f64);
            prop_assert!(!life.is_good(end) && !life.is_fresh(end));
            prop_assert!(life.is_good(at(seconds as f64 * 0.97)));
        }
    }

    #[test]
    fn what_does_not_end_is_never_renewed() {
        let life = life(None);
        assert!(life.renew_at().is_none() && life.is_young(at(1e9)) && life.is_good(at(1e9)));
        assert!(!life.is_old(at(1.9)) && life.is_old(at(2.0)));
    }

    #[test]
    fn an_outage_is_asked_about_ever_less_often_but_always_again() {
        let error = || Error::new(ErrorKind::Unavailable, "log in", "no");
        let mut outage: Option<Outage> = None;
        let mut now = Timestamp::UNIX_EPOCH;
        for failures in 1..20 {
            let next = Outage::after(outage, error(), Duration::ZERO, now);
            assert_eq!(next.failures(), failures);
            let wait = until(now, next.over_at());
            assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(30), "{wait:?}");
            assert!(next.error_at(now).is_some() && next.error_at(next.over_at()).is_none());
            now = next.over_at();
            outage = Some(next);
        }
        let near = Outage::after(outage, error(), Duration::from_secs(8), now);
        assert!(until(now, near.over_at()) <= Duration::from_secs(2), "the end is near");
    }
}
