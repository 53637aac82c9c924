//! How long a token lives, and what to do about it when: decided without asking anybody.

use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::clock::later;
use keywheel_core::lease::Term;
use keywheel_core::schedule::renew_after;
use serde::{Deserialize, Serialize};

/// What is known of a token's life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Life {
    /// Nobody has asked the server yet.
    Unknown,
    /// It has no end that anybody knows of: a root token, or one that may not look itself up.
    Endless,
    /// It ends.
    Ends(Term),
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
    pub(super) fn granted(at: Timestamp, ttl: Duration, renewable: bool) -> Self {
        Self::looked_up(at, ttl, ttl, renewable)
    }

    /// Returns the life of a token that has `ttl` left of its first grant.
    pub(super) fn looked_up(at: Timestamp, ttl: Duration, first: Duration, renewable: bool) -> Self {
        match ttl {
            Duration::ZERO => Self::Endless,
            ttl => Self::Ends(Term { wanted: first.max(ttl), ..Term::granted(at, ttl, renewable) }),
        }
    }

    /// Returns what to do next and when; nothing where nothing helps or is needed.
    ///
    /// A token is renewed, or replaced where it cannot be, after two thirds of its term, or up to a tenth of that sooner: `jitter`, from 0
    /// to 1, says how much. One that was granted less than asked nears the end of all renewals and is replaced at once where `replaceable`;
    /// where it is not, it is renewed as long as that adds anything.
    pub(super) fn next(&self, now: Timestamp, replaceable: bool, jitter: f64) -> Option<(Step, Timestamp)> {
        let term = match self {
            Self::Unknown => return Some((Step::LookUp, now)),
            Self::Endless => return None,
            Self::Ends(term) => term,
        };
        let due = later(term.granted_at, renew_after(term.ttl, jitter)).max(now);
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
            Self::Ends(term) => Self::Ends(term.not_renewable()),
            other => other,
        }
    }

    /// Returns when the token ends unless something is done, where that is known.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Ends(term) => term.ends_at(),
            Self::Unknown | Self::Endless => None,
        }
    }
}

/// A rest of a life that is not worth another renewal.
const WORTHLESS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use keywheel_core::clock::until;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Returns the step and how many seconds after the start it is due, without jitter.
    fn due(life: Life, now: f64, replaceable: bool) -> Option<(Step, f64)> {
        let (step, at) = life.next(later(START, seconds(now)), replaceable, 0.0)?;
        Some((step, until(START, at).as_secs_f64()))
    }

    #[test]
    fn every_kind_of_token_has_its_next_step() {
        let first = |ttl: f64, renewable| Life::granted(START, seconds(ttl), renewable);
        let renewed = |ttl: f64, renewable| {
            Life::Ends(Term::granted(START, HOUR, true).renewed(START, seconds(ttl), renewable))
        };
        use Step::{LookUp, Renew, Replace};
        for (name, life, replaceable, expected) in [
            ("not looked up", Life::Unknown, false, Some((LookUp, 7.0))),
            ("root", first(0.0, false), true, None),
            ("renewable", first(3600.0, true), true, Some((Renew, 2400.0))),
            ("renewable and given", first(3600.0, true), false, Some((Renew, 2400.0))),
            ("batch", first(3600.0, false), true, Some((Replace, 2400.0))),
            ("batch and given", first(3600.0, false), false, None),
            ("renewed in full (periodic)", renewed(3600.0, true), true, Some((Renew, 2400.0))),
            ("renewed almost in full", renewed(3599.0, true), true, Some((Renew, 2399.3))),
            ("near max_ttl (or explicit_max_ttl)", renewed(1200.0, true), true, Some((Replace, 7.0))),
            ("near max_ttl and given", renewed(1200.0, true), false, Some((Renew, 800.0))),
            ("at max_ttl", renewed(0.0, true), true, Some((Replace, 7.0))),
            ("at max_ttl and given", renewed(0.0, true), false, None),
            ("not renewable any more", renewed(3600.0, false), true, Some((Replace, 2400.0))),
            ("two seconds", first(2.0, true), true, Some((Renew, 7.0))),
        ] {
            let near = match (due(life, 7.0, replaceable), expected) {
                (Some((step, at)), Some((wanted, then))) => step == wanted && (at - then).abs() < 0.2,
                (found, expected) => found == expected,
            };
            assert!(near, "{name}: {:?}, not {expected:?}", due(life, 7.0, replaceable));
        }
    }

    #[test]
    fn nothing_is_due_after_the_end_nor_twice_in_a_moment() {
        for ttl in (1..200).map(|step| seconds(f64::from(step) * 1.7)) {
            for jitter in [0.0, 0.3, 1.0] {
                let life = Life::granted(START, ttl, true);
                let after = until(START, life.next(START, true, jitter).unwrap().1);
                assert!(after >= Duration::from_millis(500) && after + ttl / 4 <= ttl, "{ttl:?}: {after:?}");
            }
        }
    }

    #[test]
    fn jitter_only_hastens() {
        let at = |jitter| until(START, Life::granted(START, HOUR, true).next(START, true, jitter).unwrap().1);
        assert_eq!(at(0.0), seconds(2400.0));
        assert_eq!(at(1.0), seconds(2160.0));
    }
}
