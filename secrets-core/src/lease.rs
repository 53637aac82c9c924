//! Leases: how long a source lets a value live, and what that depends on.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{later, until};

/// What a source bound to one read of a value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lease {
    /// The source's name for the lease, needed to renew or revoke it.
    pub id: String,
    /// Which of its provider's logins the lease was made with, in the provider's own words; it may end with that login.
    pub holder: String,
    /// How long it lives.
    pub term: Term,
}

/// The life of something that was granted for a time: a lease, or a login's token. It begins with a first grant, and each renewal grants
/// another span.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Term {
    /// When the first span was granted, by the moment at which it was asked for: never later than the truth.
    pub began_at: Timestamp,
    /// When the present span was granted, likewise.
    pub granted_at: Timestamp,
    /// How long the present span is; zero stands for no known end.
    pub ttl: Duration,
    /// What every renewal asks for: the first grant.
    pub wanted: Duration,
    /// Whether the source says that it can be renewed.
    pub renewable: bool,
    /// Whether the last renewal granted less than it asked for, as it does near the end of all renewals.
    pub is_short: bool,
}

/// The life that a lease depends on beside its own: that of the login's token that it was made with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parent {
    /// When the token ends unless it is renewed.
    pub ends_at: Option<Timestamp>,
    /// Whether another token has taken its place: it is renewed no more, and what was made with it has to be made anew.
    pub superseded: bool,
}

impl Lease {
    /// Returns the moment at which the value ends, where one is known.
    pub fn deadline(&self, parent: Option<Parent>) -> Option<Timestamp> {
        let parent = parent.and_then(|parent| parent.ends_at);
        self.term.ends_at().into_iter().chain(parent).min()
    }
}

impl Term {
    /// Returns the life of what was first granted `ttl`.
    pub fn granted(at: Timestamp, ttl: Duration, renewable: bool) -> Self {
        Self { began_at: at, granted_at: at, ttl, wanted: ttl, renewable, is_short: false }
    }

    /// Returns the life after a renewal that was asked for at `at` and granted `ttl`.
    #[must_use]
    pub fn renewed(&self, at: Timestamp, ttl: Duration, renewable: bool) -> Self {
        let is_short = ttl < self.wanted.mul_f64(FULL_GRANT);
        Self { granted_at: at, ttl: ttl.max(AN_END), renewable, is_short, ..*self }
    }

    /// Returns the life of which the source said, when it was asked at `at`, that `ttl` is left.
    #[must_use]
    pub fn looked_up(&self, at: Timestamp, ttl: Duration) -> Self {
        Self { granted_at: at, ttl: ttl.max(AN_END), ..*self }
    }

    /// Returns the same life of what turned out not to be renewable.
    #[must_use]
    pub fn not_renewable(&self) -> Self {
        Self { renewable: false, ..*self }
    }

    /// Returns when it ends unless it is renewed; `None` where no end is known.
    pub fn ends_at(&self) -> Option<Timestamp> {
        (!self.ttl.is_zero()).then(|| later(self.granted_at, self.ttl))
    }

    /// Returns how long it lives from its beginning to its present end.
    pub fn life(&self) -> Duration {
        self.ends_at().map_or(Duration::ZERO, |end| until(self.began_at, end))
    }
}

/// The part of what was asked for from which on a grant counts as whole: a source may count in whole seconds.
const FULL_GRANT: f64 = 0.9;
/// What is left of a life that has an end, at least: no time at all would stand for no known end.
const AN_END: Duration = Duration::from_millis(1);
