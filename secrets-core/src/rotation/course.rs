//! The course of a rotation: what is next, from what has happened, without I/O and without a clock.
//!
//! ```text
//!        create          set         test          finish             retire
//!   Idle ------> Created ----> Set --------> Tested -------> Published ------> Idle
//!                   |           |              |                |
//!                   +-----------+--------------+                | roll back
//!                               v                               v
//!                Idle <----- Undoing <------------------- Reverting
//!                      undo             publish the old
//! ```
//!
//! A rotation that cannot be finished is undone, so that nothing of it is left behind. One that fails for a moment is tried again, with longer
//! and longer waits. Where the old credential ends with the new one's beginning, there is little patience between the two.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::store::Revision;
use crate::clock::{later, until};
use crate::error::{Error, Result};

/// What a rotation has to keep to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// How long the old credential stays valid after the new one is published.
    pub overlap: Duration,
    /// Whether both work at once; see [`Strategy::is_gapless`](super::Strategy::is_gapless).
    pub is_gapless: bool,
}

/// How far a rotation is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Course {
    phase: Phase,
    last: Option<Finished>,
    trouble: Option<Trouble>,
}

/// One rotation from its beginning to its end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// Names it.
    pub token: String,
    /// When it began.
    pub begun_at: Timestamp,
    /// What the target was at then.
    pub base: Revision,
    /// Whether the old value is given no time: somebody has it whom it is not for.
    pub is_emergency: bool,
}

/// A rotation that was published.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finished {
    /// When.
    pub at: Timestamp,
    /// What the target was at then.
    pub revision: Revision,
}

/// What keeps a rotation from going on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trouble {
    /// How many failures there were in a row.
    pub count: u32,
    /// When they began.
    pub since: Timestamp,
    /// Before when nothing is tried again.
    pub retry_at: Option<Timestamp>,
    /// What failed last, and why.
    pub error: String,
    /// Whether what had been made until then is taken back.
    #[serde(default)]
    pub is_undone: bool,
}

/// Where a rotation stands.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// There is a new value, which may or may not be set.
    Created(Attempt),
    /// It is set and not tested.
    Set(Attempt),
    /// It is tested, and may or may not be published.
    Tested(Attempt),
    /// It is published, and the old one is valid until `retire_at`.
    Published {
        /// Of this rotation.
        attempt: Attempt,
        /// When the old one goes.
        retire_at: Timestamp,
    },
    /// The old value is being published again.
    Reverting(Attempt),
    /// What was set is taken back, not before `at`.
    Undoing {
        /// Of this rotation.
        attempt: Attempt,
        /// When.
        at: Timestamp,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing, until a rotation is due.
    Rest,
    /// Nothing until then.
    WaitUntil(Timestamp),
    /// Make a new value.
    Create,
    /// Have the system accept it.
    Set,
    /// See whether it works.
    Test,
    /// Publish it.
    Finish,
    /// Have the system not accept the old one any more.
    Retire,
    /// Publish the old one again.
    Revert,
    /// Take back what was set.
    Undo,
}

/// What came of a step, or was asked for.
#[derive(Clone, Debug)]
pub enum Event {
    /// There is a new value.
    Created(Attempt),
    /// The system accepts it.
    Set,
    /// It works.
    Tested,
    /// It is published, as this revision.
    Published(Revision),
    /// The old one is not accepted any more.
    Retired,
    /// The old one is published.
    Reverted,
    /// The new one is not accepted any more.
    Undone,
    /// The target was changed by somebody else: neither the old nor the new value is published.
    Superseded,
    /// The step could not be done.
    Failed(Error),
}

impl Attempt {
    /// Returns how long what it leaves behind stays valid.
    fn overlap(&self, rules: Rules) -> Duration {
        if self.is_emergency { Duration::ZERO } else { rules.overlap }
    }
}

impl Phase {
    /// Returns the rotation that is under way.
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Idle => None,
            Self::Created(attempt)
            | Self::Set(attempt)
            | Self::Tested(attempt)
            | Self::Reverting(attempt) => Some(attempt),
            Self::Published { attempt, .. } | Self::Undoing { attempt, .. } => Some(attempt),
        }
    }

    /// Returns its name, as the status shows it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Created(_) => "created",
            Self::Set(_) => "set",
            Self::Tested(_) => "tested",
            Self::Published { .. } => "published",
            Self::Reverting(_) => "rolling back",
            Self::Undoing { .. } => "undoing",
        }
    }
}

impl Step {
    /// Returns its name, as the audit has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest | Self::WaitUntil(_) => "wait",
            Self::Create => "create",
            Self::Set => "set",
            Self::Test => "test",
            Self::Finish => "finish",
            Self::Retire => "retire",
            Self::Revert => "roll back",
            Self::Undo => "undo",
        }
    }
}

impl Course {
    /// Returns where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns the last rotation that was published.
    pub fn last(&self) -> Option<&Finished> {
        self.last.as_ref()
    }

    /// Returns what keeps it from going on.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Returns what is next; `is_due` says whether a rotation is to begin.
    pub fn next(&self, now: Timestamp, is_due: bool) -> Step {
        let retry_at = self.trouble.as_ref().and_then(|trouble| trouble.retry_at);
        let step = match &self.phase {
            Phase::Idle if !is_due => return Step::Rest,
            Phase::Idle => Step::Create,
            Phase::Created(_) => Step::Set,
            Phase::Set(_) => Step::Test,
            Phase::Tested(_) => Step::Finish,
            Phase::Published { retire_at: at, .. } | Phase::Undoing { at, .. } if *at > now => {
                return Step::WaitUntil(*at);
            }
            Phase::Published { .. } => Step::Retire,
            Phase::Reverting(_) => Step::Revert,
            Phase::Undoing { .. } => Step::Undo,
        };
        retry_at.filter(|at| *at > now).map_or(step, Step::WaitUntil)
    }

    /// Takes in what happened at `now`.
    pub fn note(&mut self, event: Event, rules: Rules, now: Timestamp) {
        let phase = std::mem::take(&mut self.phase);
        let undo = |attempt| Phase::Undoing { attempt, at: now };
        self.phase = match (phase, event) {
            (Phase::Idle, Event::Created(attempt)) => self.went_on(Phase::Created(attempt), now),
            (Phase::Created(attempt), Event::Set) => self.went_on(Phase::Set(attempt), now),
            (Phase::Set(attempt), Event::Tested) => self.went_on(Phase::Tested(attempt), now),
            // Whoever began to undo may find that it was published after all.
            (Phase::Tested(attempt) | Phase::Undoing { attempt, .. }, Event::Published(revision)) => {
                self.last = Some(Finished { at: now, revision });
                let retire_at = later(now, attempt.overlap(rules));
                self.came_through(Phase::Published { attempt, retire_at })
            }
            (Phase::Published { .. }, Event::Retired) => self.came_through(Phase::Idle),
            (Phase::Reverting(attempt) | Phase::Published { attempt, .. }, Event::Reverted) => {
                let at = later(now, attempt.overlap(rules));
                self.came_through(Phase::Undoing { attempt, at })
            }
            (Phase::Undoing { .. }, Event::Undone) => {
                if let Some(trouble) = &mut self.trouble {
                    trouble.retry_at = Some(later(now, longer(AFTER_UNDO, trouble.count)));
                    trouble.is_undone = true;
                }
                Phase::Idle
            }
            (Phase::Created(attempt) | Phase::Set(attempt) | Phase::Tested(attempt), Event::Superseded) => {
                self.fail("somebody else changed the target meanwhile", now, None);
                undo(attempt)
            }
            (Phase::Reverting(attempt), Event::Superseded) => {
                self.fail("somebody else changed the target meanwhile", now, None);
                Phase::Published { attempt, retire_at: now }
            }
            (
                Phase::Created(attempt) | Phase::Set(attempt) | Phase::Tested(attempt),
                Event::Failed(error),
            ) if !error.is_temporary() || self.failing_for(now) >= rules.patience() => {
                self.fail(&error.to_string(), now, None);
                undo(attempt)
            }
            (phase, Event::Failed(error)) => {
                let count = self.trouble.as_ref().map_or(1, |trouble| trouble.count + 1);
                let wait = rules.wait(&phase, count).max(error.retry_after().unwrap_or_default());
                self.fail(&error.to_string(), now, Some(later(now, wait)));
                phase
            }
            (phase, _) => phase,
        };
    }

    /// Goes on with what another run began. Where the old credential does not work beside the new one, that run may have taken back what it set
    /// and not have been able to say so: it is set and tested again.
    pub fn resume(&mut self, rules: Rules) {
        self.phase = match std::mem::take(&mut self.phase) {
            Phase::Set(attempt) | Phase::Tested(attempt) if !rules.is_gapless => Phase::Created(attempt),
            phase => phase,
        };
    }

    /// Has what failed be tried at once.
    pub fn retry_now(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = None;
        }
    }

    /// Has the old value be given no more time, and none when what is under way is published.
    pub fn revoke_old(&mut self, now: Timestamp) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Created(attempt)
            | Phase::Set(attempt)
            | Phase::Tested(attempt)
            | Phase::Reverting(attempt) => attempt.is_emergency = true,
            Phase::Published { attempt, retire_at: at } | Phase::Undoing { attempt, at } => {
                attempt.is_emergency = true;
                *at = now;
            }
        }
    }

    /// Has the value before the last rotation be published again.
    ///
    /// # Errors
    /// It is not valid any more.
    pub fn roll_back(&mut self, rules: Rules) -> Result<()> {
        match &self.phase {
            Phase::Reverting(_) => Ok(()),
            Phase::Published { attempt, .. } if rules.is_gapless && !attempt.is_emergency => {
                self.phase = Phase::Reverting(attempt.clone());
                self.trouble = None;
                Ok(())
            }
            _ => {
                let reason = "the value before is not valid any more: there is nothing to go back to";
                Err(Error::new(crate::ErrorKind::Rejected, "roll back", reason).with_help(
                    "`keywheel rotate --now` makes a new one; `overlap` is how long there is a way back",
                ))
            }
        }
    }

    /// Goes on to `phase`; how often it failed before is kept until it is published.
    fn went_on(&mut self, phase: Phase, now: Timestamp) -> Phase {
        if let Some(trouble) = &mut self.trouble {
            (trouble.since, trouble.retry_at, trouble.is_undone) = (now, None, false);
        }
        phase
    }

    fn came_through(&mut self, phase: Phase) -> Phase {
        self.trouble = None;
        phase
    }

    fn fail(&mut self, error: &str, now: Timestamp, retry_at: Option<Timestamp>) {
        let (count, since) = self.trouble.as_ref().map_or((0, now), |trouble| (trouble.count, trouble.since));
        let count = count.saturating_add(1);
        self.trouble = Some(Trouble { count, since, retry_at, error: error.to_owned(), is_undone: false });
    }

    fn failing_for(&self, now: Timestamp) -> Duration {
        self.trouble.as_ref().map_or(Duration::ZERO, |trouble| until(trouble.since, now))
    }
}

impl Rules {
    /// Returns for how long a step is tried again before all is undone.
    fn patience(self) -> Duration {
        if self.is_gapless { Duration::from_secs(3600) } else { Duration::from_secs(5) }
    }

    /// Returns the wait after the failure with this number in a row.
    fn wait(self, phase: &Phase, count: u32) -> Duration {
        match phase {
            // What is published may not work at this moment.
            Phase::Created(_) | Phase::Set(_) | Phase::Tested(_) | Phase::Undoing { .. }
                if !self.is_gapless =>
            {
                longer(Duration::from_millis(500), count).min(Duration::from_secs(30))
            }
            _ => longer(Duration::from_secs(30), count),
        }
    }
}

fn longer(first: Duration, count: u32) -> Duration {
    first.saturating_mul(1 << count.saturating_sub(1).min(16)).min(LONGEST_WAIT)
}

const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// A rotation that had to be undone is begun again no sooner than this.
const AFTER_UNDO: Duration = Duration::from_secs(300);
