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
        let due = (term.granted_at + after.max(SHORTEST)).max(now);
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

    /// Returns the life after a renewal at `at` that granted `ttl`. The server rounds down to seconds.
    pub(super) fn renewed(&self, at: Instant, ttl: Duration, renewable: bool) -> Life {
        let is_short = ttl + Duration::from_secs(1) < self.wanted;
        match ttl {
            Duration::ZERO => Life::Endless,
            ttl => Life::Ends(Self { granted_at: at, ttl, is_short, renewable, ..*self }),
        }
    }
}

/// No token is renewed or replaced more often than this.
const SHORTEST: Duration = Duration::from_millis(500);
/// A rest of a life that is not worth another renewal.
const WORTHLESS: Duration = Duration::from_secs(10);
