//! What a secret needs next to stay valid, and when.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{later, until};
use crate::lease::{Lease, Parent, Term};
use crate::secret::Upkeep;

/// What keeps a secret fresh.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    /// Ask the source whether the value is another one; this changes nothing there.
    Ask,
    /// Ask the source how the lease stands; this changes nothing there.
    LookUp,
    /// Extend the same lease.
    Renew,
    /// Have the source make another value while this one still lives.
    Replace,
}

impl Step {
    /// Returns what it is called.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::LookUp => "look up",
            Self::Renew => "renew",
            Self::Replace => "replace",
        }
    }
}

/// How a secret stands, as far as its next step depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// How the present value stays fresh.
    pub upkeep: &'a Upkeep,
    /// The life of the login's token that its lease depends on.
    pub parent: Option<Parent>,
    /// Whether the source said that the lease has ended.
    pub is_lost: bool,
    /// Whether the source tells how the lease stands.
    pub can_look_up: bool,
    /// When the source was asked last, whatever came of it.
    pub asked_at: Timestamp,
    /// When the interval says that the source is asked next.
    pub refresh_at: Timestamp,
    /// The moment before which nothing is tried again after a failure.
    pub retry_at: Option<Timestamp>,
    /// How long before its end a value is to be replaced at least, for those who still use the old one.
    pub overlap: Duration,
    /// Drawn by chance, from 0 to 1.
    pub unit: f64,
}

impl Standing<'_> {
    /// Returns the next step and when it is due, not before `now`; `None` where nothing is known that the value needs.
    pub fn next(&self, now: Timestamp) -> Option<(Step, Timestamp)> {
        let earliest = self.retry_at.map_or(now, |retry_at| retry_at.max(now));
        match self.upkeep {
            Upkeep::Poll { .. } | Upkeep::Once => vec![(Step::Ask, self.refresh_at)],
            Upkeep::Turn { at, period } => vec![(Step::Ask, self.turn(*at, *period, now))],
            Upkeep::Expiry { began_at, ends_at } => {
                let after = until(*began_at, *ends_at).mul_f64(renew_part(self.unit));
                vec![(Step::Replace, later(*began_at, after))]
            }
            Upkeep::Lease(lease) => self.lease(lease),
        }
        .into_iter()
        .map(|(step, at)| (step, at.max(earliest)))
        .min_by_key(|(_, at)| *at)
    }

    /// Returns what may be next for a lease; of two that are due the first counts.
    fn lease(&self, lease: &Lease) -> Vec<(Step, Timestamp)> {
        let Term { granted_at, ttl, renewable, is_short, .. } = lease.term;
        if self.is_lost || self.parent.is_some_and(|parent| parent.superseded) {
            return vec![(Step::Replace, Timestamp::MIN)];
        }
        let mut steps = Vec::new();
        if let Some(end) = lease.term.ends_at() {
            steps.push((Step::Replace, earlier(end, lead(lease.term.life(), self.overlap, self.unit))));
            if renewable && !is_short {
                steps.push((Step::Renew, later(granted_at, renew_after(ttl, self.unit))));
            }
        }
        if self.can_look_up {
            steps.push((Step::LookUp, self.refresh_at));
        }
        steps
    }

    /// Returns when to ask for a value that its source replaces by itself at `at`: then at short intervals, until it has.
    fn turn(&self, at: Timestamp, period: Duration, now: Timestamp) -> Timestamp {
        if now < at {
            return at.min(self.refresh_at);
        }
        let late = until(at, now);
        let pace = (period / 100).clamp(QUICKEST_TURN, SLOWEST_TURN);
        let wait = if late < WATCHED_TURN { pace } else { pace.max(late / 10) };
        later(self.asked_at, wait).min(self.refresh_at.max(later(self.asked_at, pace)))
    }
}

/// Returns how long before its end a value that lived `life` in all is replaced: a twentieth of that (or up to a seventh more of the
/// twentieth, by chance), and at least a second; as long as `overlap`, where that is longer; never more than a third.
pub fn lead(life: Duration, overlap: Duration, unit: f64) -> Duration {
    let grace = life.mul_f64(GRACE * (1.0 + GRACE_JITTER * unit.clamp(0.0, 1.0))).max(Duration::from_secs(1));
    grace.max(overlap).min(life / 3)
}

/// Returns how long after it was granted a span of `ttl` is extended: two thirds of it, or up to a tenth of that sooner, by chance; so that
/// a second is left at least, since sources count in whole ones; and never twice in half a second.
pub fn renew_after(ttl: Duration, unit: f64) -> Duration {
    ttl.mul_f64(renew_part(unit)).min(ttl.saturating_sub(ROUNDING)).max(SHORTEST)
}

fn renew_part(unit: f64) -> f64 {
    (2.0 / 3.0) * (1.0 - 0.1 * unit.clamp(0.0, 1.0))
}

fn earlier(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span).ok().and_then(|span| at.checked_sub(span).ok()).unwrap_or(Timestamp::MIN)
}

/// The part of a life before whose end a value is replaced.
const GRACE: f64 = 0.05;
/// By how much of itself chance lengthens that.
const GRACE_JITTER: f64 = 0.15;
const ROUNDING: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(500);
/// How often a value is asked for that is due to be replaced at its source: a hundredth of its period, within these bounds.
const QUICKEST_TURN: Duration = Duration::from_millis(50);
const SLOWEST_TURN: Duration = Duration::from_secs(1);
/// For how long after it was due. Vault and OpenBao look for due rotations every five seconds.
const WATCHED_TURN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
