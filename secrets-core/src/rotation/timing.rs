//! When a secret is replaced at its source: a pure decision, without a clock.
//!
//! [`RotationTiming::next`] takes when the value was last replaced and what time it is, and says when the next rotation begins. It is asked again after each
//! rotation, and whenever it pleases: as long as nothing was replaced, its answer stays the same until that moment has come, and is "now" from then on (with a
//! `window`, until that closes).

mod freeze;
mod read;

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::freeze::Freezes;
use crate::clock::later;
use crate::schedule::{Cron, splay};

/// The schedule of one rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RotationTiming {
    pace: Pace,
    jitter: Duration,
    max_age: Option<Duration>,
    freezes: Freezes,
    paused: bool,
    /// How long a value stands at least.
    shortest: Duration,
}

/// What sets the pace.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Pace {
    /// Times of the calendar; a rotation begins within `window` of one, or at any time after it.
    Cron { cron: Box<Cron>, window: Option<Duration> },
    /// A span after the last rotation.
    Every(Duration),
}

/// When the next rotation begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// At once.
    Now(Because),
    /// At a moment that is still to come.
    At(Timestamp, Because),
    /// Not by itself: the schedule is paused, or the calendar has come to its end.
    Never,
}

/// Why a rotation is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Because {
    /// There is no value yet.
    NoValue,
    /// `cron` or `every` says so.
    Schedule {
        /// The time that they name, before `jitter` and `blackout`.
        occurrence: Timestamp,
    },
    /// The value is as old as `max_age` allows.
    MaxAge,
}

impl Due {
    /// Returns the moment, which is `now` for what is due already.
    pub fn at(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now(_) => Some(now),
            Self::At(at, _) => Some(*at),
            Self::Never => None,
        }
    }

    /// Returns the reason.
    pub fn because(&self) -> Option<Because> {
        match self {
            Self::Now(because) | Self::At(_, because) => Some(*because),
            Self::Never => None,
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue => f.write_str("there is no value yet"),
            Self::Schedule { occurrence } => write!(f, "scheduled for {occurrence:.0}"),
            Self::MaxAge => f.write_str("the value is as old as max_age allows"),
        }
    }
}

impl RotationTiming {
    /// Returns when the rotation `name` begins next, given that its value was last replaced, or first seen, at `baseline`.
    ///
    /// - Without a value it is due at once.
    /// - `cron`: the first occurrence after the baseline, later by its part of `jitter`. Occurrences that were missed become one, at once. With `window`, a rotation begins
    ///   only between an occurrence (and its jitter) and the window's end; one that was wholly missed is left for the next.
    /// - `every`: that long after the baseline, later by its part of `jitter`.
    /// - `max_age`: when the value gets older than that, whatever `cron` and `window` say.
    /// - Whatever they say, nothing begins sooner after the baseline than [`at_most_every`](Self::at_most_every) allows.
    /// - `blackout`: nothing begins within; what is due then begins at its end, if its window is still open then, else in the next.
    ///
    /// The part of `jitter` depends on name and occurrence alone: replicas agree on it.
    pub fn next(&self, name: &str, baseline: Option<Timestamp>, now: Timestamp) -> Due {
        if self.paused {
            return Due::Never;
        }
        let Some(baseline) = baseline else {
            return due(self.freezes.clear(now), Because::NoValue, now);
        };
        let scheduled = match &self.pace {
            Pace::Cron { cron, window } => self.next_of_cron(cron, *window, name, baseline, now),
            Pace::Every(span) => Some(self.begin(name, later(baseline, *span), now)),
        };
        let too_old = self
            .max_age
            .map(|age| (self.freezes.clear(later(baseline, age).max(now)), Because::MaxAge))
            .filter(|(at, _)| scheduled.is_none_or(|(scheduled, _)| *at < scheduled));
        let earliest = self.freezes.clear(later(baseline, self.shortest));
        match too_old.or(scheduled).map(|(at, because)| (at.max(earliest), because)) {
            Some((at, because)) if at < Timestamp::MAX => due(at, because, now),
            _ => Due::Never,
        }
    }

    /// Has a value stand for `shortest` at least before it is replaced by the schedule.
    #[must_use]
    pub fn at_most_every(self, shortest: Duration) -> Self {
        Self { shortest, ..self }
    }

    /// Returns the rotations to come, if each is done at the moment at which it is due; without end, unless one is [`Due::Never`].
    pub fn preview(
        &self,
        name: &str,
        baseline: Option<Timestamp>,
        now: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, Because)> {
        let mut state = (baseline, now);
        std::iter::from_fn(move || {
            let (baseline, now) = state;
            let next = self.next(name, baseline, now);
            let at = next.at(now)?;
            state = (Some(at), at);
            Some((at, next.because()?))
        })
    }

    /// Returns the end of the freeze (`blackout`) that `at` is in.
    pub fn frozen_until(&self, at: Timestamp) -> Option<Timestamp> {
        self.freezes.until(at)
    }

    /// Tells whether nothing is rotated by itself.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Finds the first occurrence after `baseline` in whose window a rotation can begin, not before `now`. A turn of the loop passes a freeze, or is the last.
    fn next_of_cron(
        &self,
        cron: &Cron,
        window: Option<Duration>,
        name: &str,
        baseline: Timestamp,
        now: Timestamp,
    ) -> Option<(Timestamp, Because)> {
        // Whose window has closed before `at` is not looked at.
        let opened_before = |at: Timestamp| {
            let window = SignedDuration::try_from(window?).ok()?;
            at.checked_sub(window).and_then(|at| at.checked_sub(TICK)).ok()
        };
        let mut after = opened_before(now).map_or(baseline, |at| at.max(baseline));
        loop {
            let occurrence = cron.next_after(after)?;
            let (at, because) = self.begin(name, occurrence, now);
            if window.is_none_or(|window| at <= later(occurrence, window)) {
                return Some((at, because));
            }
            after = opened_before(at).map_or(occurrence, |at| at.max(occurrence));
        }
    }

    /// Returns when the rotation of an occurrence may begin.
    fn begin(&self, name: &str, occurrence: Timestamp, now: Timestamp) -> (Timestamp, Because) {
        let at = later(occurrence, self.jitter_of(name, occurrence)).max(now);
        (self.freezes.clear(at), Because::Schedule { occurrence })
    }

    /// Returns the part of `jitter` that is this occurrence's, in whole milliseconds.
    fn jitter_of(&self, name: &str, occurrence: Timestamp) -> Duration {
        let part = splay(self.jitter, &format!("{name}@{}", occurrence.as_nanosecond()));
        Duration::new(part.as_secs(), part.subsec_millis() * 1_000_000)
    }
}

fn due(at: Timestamp, because: Because, now: Timestamp) -> Due {
    if at <= now { Due::Now(because) } else { Due::At(at, because) }
}

/// The shortest span that timestamps can tell.
const TICK: SignedDuration = SignedDuration::from_nanos(1);

#[cfg(test)]
mod tests;
