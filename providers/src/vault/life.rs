//! How long a token lives, and what to do about it when: decided without asking anybody.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of a token's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Life {
    /// Nobody has asked the server yet.
    Unknown,
    /// It has no end that anybody knows of: a root token, or one that may not look itself up.
    Endless,
    /// It ends.
    Ends(Term),
}

/// One granted span of a token's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Term {
    /// When the server granted it, by the moment at which it was asked: never later than the truth.
    pub(super) granted_at: Instant,
    /// How long it is.
    pub(super) ttl: Duration,
    /// What every renewal asks for: the first grant.
    pub(super) wanted: Duration,
    /// Whether the server granted less than it was asked for, as it does near the end of all renewals.
    pub(super) is_short: bool,
    /// Whether it may be renewed.
    pub(super) renewable: bool,
}

/// What keeps a token alive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Ask the server about the token.
    LookUp,
    /// Extend the same token.
    Renew,
    /// Obtain another token while this one still lives.
    Replace,
}

impl Life {
    /// Returns the life of a token that was first granted `ttl`, where nothing stands for no end.
    pub(super) fn granted(granted_at: Instant, ttl: Duration, renewable: bool) -> Self {
        Self::looked_up(granted_at, ttl, ttl, renewable)
    }

    /// Returns the life of a token that has `ttl` left of its first grant.
    pub(super) fn looked_up(at: Instant, ttl: Duration, first: Duration, renewable: bool) -> Self {
        match ttl {
            Duration::ZERO => Self::Endless,
            ttl => {
                Self::Ends(Term { granted_at: at, ttl, wanted: first.max(ttl), is_short: false, renewable })
            }
        }
    }

    /// Returns what to do next and when; nothing where nothing helps or is needed.
    ///
    /// A token is renewed, or replaced where it cannot be, after two thirds of its term, or up to a tenth of that sooner: `jitter`, from 0
    /// to 1, says how much. One that was granted less than asked nears the end of all renewals and is replaced at once where `replaceable`;
    /// where it is not, it is renewed as long as that adds anything.
    pub(super) fn next(&self, now: Instant, replaceable: bool, jitter: f64) -> Option<(Step, Instant)> {
        let term = match self {
            Self::Unknown => return Some((Step::LookUp, now)),
            Self::Endless => return None,
            Self::Ends(term) => term,
        };
        let after = term.ttl.mul_f64((2.0 / 3.0) * (1.0 - 0.1 * jitter.clamp(0.0, 1.0)));
        let due = (term.granted_at + after.min(term.ttl.saturating_sub(ROUNDING)).max(SHORTEST)).max(now);
        match (term.renewable, replaceable) {
            (_, true) if term.is_short => Some((Step::Replace, now)),
            (true, false) if term.is_short && term.ttl < WORTHLESS => None,
            (true, _) => Some((Step::Renew, due)),
            (false, true) => Some((Step::Replace, due)),
            (false, false) => None,
        }
    }

    /// Returns the same life for a token that turned out not to be renewable.
    pub(super) fn not_renewable(self) -> Self {
        match self {
            Self::Ends(term) => Self::Ends(Term { renewable: false, ..term }),
            other => other,
        }
    }
}

impl Term {
    /// Returns when the token ends unless something is done.
    pub(super) fn deadline(&self) -> Instant {
        self.granted_at + self.ttl
    }

    /// Returns the life after a renewal at `at` that granted `ttl`, in whole seconds: of a rest below one, nothing is left.
    pub(super) fn renewed(&self, at: Instant, ttl: Duration, renewable: bool) -> Life {
        let is_short = ttl < self.wanted.mul_f64(FULL_GRANT);
        Life::Ends(Self { granted_at: at, ttl, is_short, renewable, ..*self })
    }
}

/// No token is renewed or replaced more often than this.
const SHORTEST: Duration = Duration::from_millis(500);
/// The server counts in whole seconds, and not always downwards.
const ROUNDING: Duration = Duration::from_secs(1);
/// A rest of a life that is not worth another renewal.
const WORTHLESS: Duration = Duration::from_secs(10);
/// The part of what was asked for from which on a grant counts as whole.
const FULL_GRANT: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Returns the step and how many seconds after `start` it is due, without jitter.
    fn due(life: Life, start: Instant, now: Duration, replaceable: bool) -> Option<(Step, f64)> {
        let (step, at) = life.next(start + now, replaceable, 0.0)?;
        Some((step, (at.duration_since(start).as_secs_f64() * 10.0).round() / 10.0))
    }

    #[test]
    fn every_kind_of_token_has_its_next_step() {
        let start = Instant::now();
        let first = |ttl: f64, renewable| Life::granted(start, seconds(ttl), renewable);
        let renewed = |ttl: f64, renewable| {
            let Life::Ends(term) = Life::granted(start, HOUR, true) else { unreachable!() };
            term.renewed(start, seconds(ttl), renewable)
        };
        use Step::{LookUp, Renew, Replace};
        for (name, life, replaceable, expected) in [
            ("not looked up", Life::Unknown, false, Some((LookUp, 7.0))),
            ("root", first(0.0, false), true, None),
            ("renewable", first(3600.0, true), true, Some((Renew, 2400.0))),
            ("renewable and given", first(3600.0, true), false, Some((Renew, 2400.0))),
            ("batch", first(3600.0, false), true, Some((Replace, 2400.0))),
            ("batch and given", first(3600.0, false), false, None),
            ("renewed in full", renewed(3600.0, true), true, Some((Renew, 2400.0))),
            ("renewed almost in full", renewed(3599.0, true), true, Some((Renew, 2399.3))),
            ("near max_ttl", renewed(1200.0, true), true, Some((Replace, 7.0))),
            ("near max_ttl and given", renewed(1200.0, true), false, Some((Renew, 800.0))),
            ("at max_ttl", renewed(0.0, true), true, Some((Replace, 7.0))),
            ("at max_ttl and given", renewed(0.0, true), false, None),
            ("not renewable any more", renewed(3600.0, false), true, Some((Replace, 2400.0))),
            ("two seconds", first(2.0, true), true, Some((Renew, 7.0))),
        ] {
            let found = due(life, start, seconds(7.0), replaceable);
            let expected = expected.map(|(step, at)| (step, if at < 7.0 { 7.0 } else { at }));
            let near = match (found, expected) {
                (Some((step, at)), Some((wanted, then))) => step == wanted && (at - then).abs() < 0.2,
                (found, expected) => found == expected,
            };
            assert!(near, "{name}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn nothing_is_due_after_the_end_nor_twice_in_a_moment() {
        let start = Instant::now();
        for ttl in (1..200).map(|step| seconds(f64::from(step) * 1.7)) {
            for jitter in [0.0, 0.3, 1.0] {
                let life = Life::granted(start, ttl, true);
                let (_, at) = life.next(start, true, jitter).unwrap();
                let after = at.duration_since(start);
                assert!(after >= SHORTEST && after + ttl / 4 <= ttl, "{ttl:?}: {after:?}");
            }
        }
    }

    #[test]
    fn jitter_only_hastens() {
        let start = Instant::now();
        let at = |jitter| Life::granted(start, HOUR, true).next(start, true, jitter).unwrap().1;
        assert_eq!(at(0.0).duration_since(start), seconds(2400.0));
        assert_eq!(at(1.0).duration_since(start), seconds(2160.0));
    }
}
