//! What becomes of the command: a pure state machine. It is told what happened and when, and says what to do.
//!
//! ```text
//! Waiting --ready--> Running --ended--> Over | Pausing --later--> Running
//!                    Running --asked to end, or to restart--> Ending --gone--> Over | Running
//! ```

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::backoff::{self, Policy};
use super::outcome::{self, Outcome};

/// What a command is given and how it is treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    /// How long it has to end by itself.
    pub(super) grace: Duration,
    /// What a restart asks it to end with.
    pub(super) stop_signal: Signal,
}

/// The state of one command.
#[derive(Debug)]
pub(super) struct Life {
    rules: Rules,
    phase: Phase,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// The secrets are not there yet.
    Waiting,
    /// About to be started, or running since then.
    Running {
        since: Instant,
    },
    Ending(End),
    /// It has ended and is started again then.
    Pausing {
        until: Instant,
    },
    Over {
        code: u8,
    },
}

/// A command that is to end, with everything that it started in its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct End {
    then: Then,
    /// When it is killed; when it was killed already, when it is given up.
    by: Instant,
    was_killed: bool,
    /// How it ended, once it has; the rest of its group may still be there.
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// The program ends; since when somebody has wanted that.
    Over {
        since: Instant,
    },
    Start {
        pause: Duration,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// Start the command.
    Start,
    /// Send a signal to the command's group.
    Send(Signal),
    /// Ask the command's group to end; one that was stopped is woken up for it.
    Stop(Signal),
    /// Kill the command's group.
    Kill,
}

/// What becomes of a wish to restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Restart {
    /// The command is not running yet: it will start with what is new.
    NotStarted,
    /// The command will be started anew.
    Underway,
    /// There will be no other start.
    Refused,
}

impl Life {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, phase: Phase::Waiting, failures: 0 }
    }

    /// Returns the exit code, once there is nothing left to do.
    pub(super) fn is_over(&self) -> Option<u8> {
        match self.phase {
            Phase::Over { code } => Some(code),
            _ => None,
        }
    }

    /// Tells whether the command has not been started yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// Returns when the command is started again, while it is left alone.
    pub(super) fn pauses_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Pausing { until } => Some(until),
            _ => None,
        }
    }

    /// Tells whether the command has ended and the rest of its group has not.
    pub(super) fn awaits_rest(&self) -> bool {
        matches!(self.phase, Phase::Ending(End { outcome: Some(_), .. }))
    }

    /// Returns when [`tick`](Self::tick) is to be called next.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ending(end) => Some(end.by),
            Phase::Pausing { until } => Some(until),
            _ => None,
        }
    }

    /// The secrets are there.
    pub(super) fn ready(&mut self, now: Instant) -> Option<Act> {
        self.is_waiting().then(|| self.start(now))
    }

    /// The command cannot be started.
    pub(super) fn not_started(&mut self, code: u8) {
        self.phase = Phase::Over { code };
    }

    /// Somebody sent this program a signal.
    pub(super) fn signalled(&mut self, signal: Signal, now: Instant) -> Option<Act> {
        let ends = matches!(signal, Signal::TERM | Signal::INT);
        match &mut self.phase {
            Phase::Waiting | Phase::Pausing { .. } => {
                // There is nobody to forward it to: what it does to a program that does not know it is done.
                if ends || matches!(signal, Signal::HUP | Signal::QUIT) {
                    self.phase = Phase::Over { code: outcome::by_signal(signal.as_raw()) };
                }
                None
            }
            Phase::Running { .. } if ends => Some(self.end(now, signal)),
            Phase::Ending(end) if ends => match end.then {
                Then::Over { since } if now >= since + SECOND_THOUGHT => {
                    (end.was_killed, end.by) = (true, now + GIVEN_UP_AFTER);
                    Some(Act::Kill)
                }
                // One signal came twice: to the program, and to its group (timeout(1) does that).
                Then::Over { .. } => None,
                Then::Start { .. } => {
                    end.then = Then::Over { since: now };
                    end.by = end.by.max(now + self.rules.grace);
                    Some(Act::Stop(signal))
                }
            },
            Phase::Running { .. } | Phase::Ending(_) => Some(Act::Send(signal)),
            Phase::Over { .. } => None,
        }
    }

    /// The command has ended; `rest` says whether anything of its group has not.
    pub(super) fn ended(&mut self, outcome: Outcome, rest: bool, now: Instant, unit: f64) -> Option<Act> {
        match self.phase {
            Phase::Running { since } => {
                if !self.starts_again(outcome) {
                    self.phase = Phase::Over { code: outcome.code() };
                    return None;
                }
                self.failures = backoff::failures_after(now - since, self.failures);
                let pause = backoff::pause(self.failures, unit);
                if !rest {
                    self.phase = Phase::Pausing { until: now + pause };
                    return None;
                }
                let (then, by) = (Then::Start { pause }, now + self.rules.grace);
                self.phase = Phase::Ending(End { then, by, was_killed: false, outcome: Some(outcome) });
                Some(Act::Stop(self.rules.stop_signal))
            }
            Phase::Ending(end) => {
                self.phase = Phase::Ending(End { outcome: Some(outcome), ..end });
                if rest { None } else { self.gone(now) }
            }
            _ => None,
        }
    }

    /// Everything of the command's group has ended.
    pub(super) fn gone(&mut self, now: Instant) -> Option<Act> {
        let Phase::Ending(end) = self.phase else { return None };
        match end.then {
            Then::Over { .. } => {
                let outcome = end.outcome.unwrap_or(KILLED);
                self.phase = Phase::Over { code: outcome.code() };
                None
            }
            Then::Start { pause } if pause.is_zero() => Some(self.start(now)),
            Then::Start { pause } => {
                self.phase = Phase::Pausing { until: now + pause };
                None
            }
        }
    }

    /// Somebody wants the command to start anew.
    pub(super) fn restart(&mut self, grace: Option<Duration>, now: Instant) -> (Restart, Option<Act>) {
        match &mut self.phase {
            Phase::Waiting => (Restart::NotStarted, None),
            Phase::Running { .. } => {
                let (then, by) =
                    (Then::Start { pause: Duration::ZERO }, now + grace.unwrap_or(self.rules.grace));
                self.phase = Phase::Ending(End { then, by, was_killed: false, outcome: None });
                (Restart::Underway, Some(Act::Stop(self.rules.stop_signal)))
            }
            Phase::Ending(End { then: Then::Start { pause }, .. }) => {
                *pause = Duration::ZERO;
                (Restart::Underway, None)
            }
            // What is new may be what it lacked.
            Phase::Pausing { .. } => (Restart::Underway, Some(self.start(now))),
            Phase::Ending(_) | Phase::Over { .. } => (Restart::Refused, None),
        }
    }

    /// Somebody wants the program to end, as with SIGTERM.
    pub(super) fn quit(&mut self, now: Instant) -> Option<Act> {
        match self.phase {
            Phase::Ending(End { then: Then::Over { .. }, .. }) => None,
            _ => self.signalled(Signal::TERM, now),
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Act> {
        match &mut self.phase {
            Phase::Pausing { until } if now >= *until => Some(self.start(now)),
            // While it may still be there, another one must not take its place.
            Phase::Ending(end) if now >= end.by && end.was_killed => {
                let outcome = end.outcome.unwrap_or(KILLED);
                self.phase = Phase::Over { code: outcome.code() };
                None
            }
            Phase::Ending(end) if now >= end.by => {
                (end.was_killed, end.by) = (true, now + GIVEN_UP_AFTER);
                Some(Act::Kill)
            }
            _ => None,
        }
    }

    fn start(&mut self, now: Instant) -> Act {
        self.phase = Phase::Running { since: now };
        Act::Start
    }

    fn end(&mut self, now: Instant, signal: Signal) -> Act {
        let (then, by) = (Then::Over { since: now }, now + self.rules.grace);
        self.phase = Phase::Ending(End { then, by, was_killed: false, outcome: None });
        Act::Stop(signal)
    }

    fn starts_again(&self, outcome: Outcome) -> bool {
        match self.rules.policy {
            Policy::Never => false,
            Policy::OnFailure => !outcome.is_success(),
            Policy::Always => true,
        }
    }
}

const KILLED: Outcome = Outcome::Killed(9);
/// A second SIGTERM counts as one that early at the soonest.
const SECOND_THOUGHT: Duration = Duration::from_millis(100);
/// What was killed and still does not end (it waits for a broken disk, say) is left behind after that.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
