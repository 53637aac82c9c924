//! The transaction of a delivery: what is next, from what has happened, without I/O and without a clock.
//!
//! ```text
//!           newer values                       all are told
//!   Idle ---------------> Publishing -> Telling -----------> Verifying -> Idle, committed
//!    |                                     |                     |
//!    | not valid                           +---- in vain --------+
//!    v                                     v
//!   Idle, rejected <----- TellingBack <- Reverting
//! ```
//!
//! The generation that the application is known to work with (the base) stays, with the leases behind it, until a newer one is committed:
//! everybody was told of it, and the application proved that it works with it. One that it does not work with is rejected: its versions are not
//! tried again until they change, or somebody asks for it.
//!
//! A loop performs the [`Step`]s and [notes](Transaction::note) what came of them. The whole is written down between two steps, so that a
//! program that was killed at any of them [goes on](Transaction::resume) where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::later;

/// The versions of a delivery's secrets, by their names.
pub type Versions = BTreeMap<String, String>;

/// What a delivery's transactions have to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// How many are told, one after the other.
    pub notifiers: usize,
    /// How long the application may take to be told, and then to prove that it works; `None` when it is not asked to.
    pub within: Option<Duration>,
}

/// How far a delivery is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Transaction {
    base: Option<String>,
    phase: Phase,
    rejected: Option<Versions>,
}

/// A generation and what it was made of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Change {
    generation: String,
    versions: Versions,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Idle,
    /// `change` may or may not be visible; the one before was being told.
    Publishing {
        change: Change,
        verify: bool,
        before: Option<Box<Phase>>,
    },
    Telling {
        change: Change,
        told: usize,
        verify: bool,
        until: Option<Timestamp>,
        is_stuck: bool,
    },
    Verifying {
        change: Change,
        until: Timestamp,
    },
    Reverting {
        change: Change,
    },
    TellingBack {
        told: usize,
        is_stuck: bool,
    },
}

/// What the next step depends on beside the transaction itself.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The time.
    pub now: Timestamp,
    /// The versions that could be delivered, where they are not those that were taken last.
    pub newer: Option<&'a Versions>,
    /// Until when they have to wait for their window.
    pub hold_until: Option<Timestamp>,
    /// When what failed is to be tried again.
    pub retry_at: Option<Timestamp>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing, until something happens.
    Rest,
    /// Nothing, until then or until something happens.
    WaitUntil(Timestamp),
    /// Render and check the newest values, and make them visible.
    Prepare,
    /// Tell the notifier with this index that what is visible has changed.
    Tell(usize),
    /// See whether the application works.
    Probe,
    /// Make the base visible again.
    Revert,
}

/// What came of a step, or happened by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A generation of these versions is about to become visible; the application is asked to prove that it works with it where `verify` says so
    /// and the rules have it.
    Publishing {
        /// Its name.
        generation: String,
        /// What it is made of.
        versions: Versions,
        /// Whether it has to be proved.
        verify: bool,
    },
    /// It is visible.
    Published,
    /// It is not, and nothing has changed.
    NotPublished,
    /// These versions cannot be delivered as they are.
    NotValid(Versions),
    /// The notifier whose turn it was has been told.
    Told,
    /// It could not be told.
    NotTold,
    /// The application works.
    Verified,
    /// The application does not work, or not yet.
    NotVerified,
    /// The base is visible again.
    Reverted,
    /// Somebody wants the newest values tried, also if they were rejected.
    Asked,
}

/// What a noted event brought to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The generation that is visible is the one to keep: what came before it may go.
    Committed,
    /// Likewise, though the application did not prove that it works: there is nothing to go back to.
    Unproven,
    /// The application does not work with what is visible: the base has to come back.
    Failed,
    /// The base is visible again.
    RolledBack,
}

impl Transaction {
    /// Goes on with what was written down, in a directory in which `current` is visible.
    #[must_use]
    pub fn resume(written: Option<Self>, current: Option<&str>, rules: Rules, now: Timestamp) -> Self {
        let base = current.map(str::to_owned);
        let (Some(written), Some(current)) = (written, current) else {
            return Self { base, ..Self::default() };
        };
        let is_base = written.base.as_deref() == Some(current);
        let mut resumed = Self { phase: Phase::Idle, ..written };
        let phase = match written.phase {
            Phase::Publishing { change, verify, .. } if change.generation == current => {
                Phase::telling(change, verify && resumed.base.is_some(), rules, now)
            }
            Phase::Publishing { before, .. } => before.map_or(Phase::Idle, |before| *before),
            Phase::Reverting { change } if is_base => {
                resumed.rejected = Some(change.versions);
                Phase::TellingBack { told: 0, is_stuck: false }
            }
            Phase::Verifying { change, .. } if rules.within.is_none() => {
                Phase::Telling { told: rules.notifiers, change, verify: false, until: None, is_stuck: false }
            }
            other => other,
        };
        let shows = phase.shows().or(resumed.base.as_deref());
        if shows != Some(current) {
            return Self { base, phase: Phase::Idle, rejected: resumed.rejected };
        }
        (resumed.phase, _) = resumed.all_told(phase, rules, now);
        resumed
    }

    /// Returns the generation that the application is known to work with.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Returns the versions that are not tried again.
    pub fn rejected(&self) -> Option<&Versions> {
        self.rejected.as_ref()
    }

    /// Forgets which versions were rejected, for whoever comes next.
    #[must_use]
    pub fn without_rejection(self) -> Self {
        Self { rejected: None, ..self }
    }

    /// Tells whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Tells whether it is on the way to a proof, or back.
    pub fn awaits_proof(&self) -> bool {
        matches!(self.phase, Phase::Verifying { .. } | Phase::Reverting { .. })
    }

    /// Tells whether the base is being made visible again, or its return told.
    pub fn goes_back(&self) -> bool {
        matches!(self.phase, Phase::Reverting { .. } | Phase::TellingBack { .. })
    }

    /// Returns where it is, in a word.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Idle => "idle",
            Phase::Publishing { .. } => "publishing",
            Phase::Telling { .. } => "telling",
            Phase::Verifying { .. } => "verifying",
            Phase::Reverting { .. } | Phase::TellingBack { .. } => "rolling back",
        }
    }

    /// Returns what is next.
    pub fn next(&self, rules: Rules, at: Situation<'_>) -> Step {
        let newer = at.newer.is_some_and(|newer| self.rejected.as_ref() != Some(newer));
        let waiting = at.retry_at.filter(|retry_at| *retry_at > at.now).map(Step::WaitUntil);
        match &self.phase {
            Phase::Idle if newer => match at.hold_until.filter(|until| *until > at.now) {
                Some(until) => Step::WaitUntil(until),
                None => waiting.unwrap_or(Step::Prepare),
            },
            Phase::Idle => Step::Rest,
            // What nobody could be told of is overtaken by what is newer.
            Phase::Telling { is_stuck: true, .. } | Phase::TellingBack { is_stuck: true, .. } if newer => {
                Step::Prepare
            }
            Phase::Telling { told, .. } | Phase::TellingBack { told, .. } => {
                waiting.unwrap_or(Step::Tell((*told).min(rules.notifiers.saturating_sub(1))))
            }
            Phase::Verifying { .. } => waiting.unwrap_or(Step::Probe),
            Phase::Reverting { .. } => waiting.unwrap_or(Step::Revert),
            // What came of it is noted before anything else.
            Phase::Publishing { .. } => Step::Rest,
        }
    }

    /// Takes in what happened at `now`. `can_go_back` says whether the values of the base are still good.
    pub fn note(&mut self, event: Event, rules: Rules, now: Timestamp, can_go_back: bool) -> Option<Outcome> {
        let can_go_back = can_go_back && self.base.is_some();
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let (next, outcome) = match (phase, event) {
            (phase, Event::Publishing { generation, versions, verify }) => {
                let before = match phase {
                    Phase::Idle | Phase::Publishing { .. } => None,
                    other => Some(Box::new(other)),
                };
                (Phase::Publishing { change: Change { generation, versions }, verify, before }, None)
            }
            (Phase::Publishing { change, verify, .. }, Event::Published) => {
                self.rejected = None;
                self.all_told(Phase::telling(change, verify && self.base.is_some(), rules, now), rules, now)
            }
            (Phase::Publishing { before, .. }, Event::NotPublished) => {
                (before.map_or(Phase::Idle, |before| *before), None)
            }
            (phase, Event::NotValid(versions)) => {
                self.rejected = Some(versions);
                (phase, None)
            }
            (Phase::Telling { change, told, verify, until, .. }, Event::Told) => {
                let phase = Phase::Telling { change, told: told + 1, verify, until, is_stuck: false };
                self.all_told(phase, rules, now)
            }
            (Phase::Telling { change, until: Some(until), .. }, Event::NotTold)
                if now >= until && can_go_back =>
            {
                (Phase::Reverting { change }, Some(Outcome::Failed))
            }
            (Phase::Telling { change, told, verify, until, .. }, Event::NotTold) => {
                (Phase::Telling { change, told, verify, until, is_stuck: true }, None)
            }
            (Phase::TellingBack { told, .. }, Event::Told) => {
                self.all_told(Phase::TellingBack { told: told + 1, is_stuck: false }, rules, now)
            }
            (Phase::TellingBack { told, .. }, Event::NotTold) => {
                (Phase::TellingBack { told, is_stuck: true }, None)
            }
            (Phase::Verifying { change, .. }, Event::Verified) => self.commit(change, Outcome::Committed),
            (Phase::Verifying { change, until }, Event::NotVerified) if now >= until => match can_go_back {
                true => (Phase::Reverting { change }, Some(Outcome::Failed)),
                false => self.commit(change, Outcome::Unproven),
            },
            (Phase::Reverting { change }, Event::Reverted) => {
                self.rejected = Some(change.versions);
                let (phase, _) = self.all_told(Phase::TellingBack { told: 0, is_stuck: false }, rules, now);
                (phase, Some(Outcome::RolledBack))
            }
            (phase, Event::Asked) => {
                self.rejected = None;
                (phase, None)
            }
            (phase, _) => (phase, None),
        };
        self.phase = next;
        outcome
    }

    /// Moves on from a phase in which everybody has been told.
    fn all_told(&mut self, phase: Phase, rules: Rules, now: Timestamp) -> (Phase, Option<Outcome>) {
        match (phase, rules.within) {
            (Phase::Telling { change, told, verify, .. }, within) if told >= rules.notifiers => {
                match within.filter(|_| verify) {
                    Some(within) => (Phase::Verifying { change, until: later(now, within) }, None),
                    None => self.commit(change, Outcome::Committed),
                }
            }
            (Phase::TellingBack { told, .. }, _) if told >= rules.notifiers => (Phase::Idle, None),
            (phase, _) => (phase, None),
        }
    }

    fn commit(&mut self, change: Change, outcome: Outcome) -> (Phase, Option<Outcome>) {
        self.base = Some(change.generation);
        (Phase::Idle, Some(outcome))
    }
}

impl Phase {
    fn telling(change: Change, verify: bool, rules: Rules, now: Timestamp) -> Self {
        let until = rules.within.filter(|_| verify).map(|within| later(now, within));
        Self::Telling { change, told: 0, verify, until, is_stuck: false }
    }

    /// Returns the generation that is visible in this phase, where that is not the base.
    fn shows(&self) -> Option<&str> {
        match self {
            Self::Telling { change, .. } | Self::Verifying { change, .. } | Self::Reverting { change } => {
                Some(&change.generation)
            }
            Self::Idle | Self::Publishing { .. } | Self::TellingBack { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
