//! What a schedule's owner is told: pure functions of how the rotation stands.
//!
//! Versions, times, phases and the engine's own errors are told, which hold no values; nothing else is.

use jiff::Timestamp;
use keywheel_core::rotation::{Phase, Standing};
use keywheel_core::{Error, ErrorKind};

use super::resource::{Condition, RotationSchedule, RotationScheduleStatus, Timing};

/// What is known of a schedule after it was looked at.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It cannot be kept: these are its mistakes.
    Invalid(String),
    /// It is not kept: the schedule of this name has its target.
    Taken(String),
    /// How the rotation stands, as far as that is known, and what failed.
    Looked {
        /// How it stands.
        standing: Option<Box<Standing>>,
        /// What failed in this look.
        error: Option<Error>,
    },
}

/// Something that is told once, when it happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Whether somebody should look at it.
    pub is_warning: bool,
}

/// Returns the status of a schedule, after `before`.
pub fn status(
    schedule: &RotationSchedule,
    before: &RotationScheduleStatus,
    outcome: &Outcome,
    now: Timestamp,
) -> RotationScheduleStatus {
    let generation = schedule.metadata.generation;
    let words = judge(before, outcome);
    let transition = ready(before).filter(|condition| condition.status == words.status);
    let ready = Condition {
        kind: READY.to_owned(),
        status: words.status.to_owned(),
        observed_generation: generation,
        last_transition_time: transition.map_or(seconds(now), |condition| condition.last_transition_time),
        reason: words.reason,
        message: shortened(words.message),
    };
    let told = RotationScheduleStatus {
        observed_generation: generation,
        conditions: vec![ready],
        schedule: Some(summary(&schedule.spec.schedule)),
        ..before.clone()
    };
    match outcome {
        Outcome::Looked { standing: Some(standing), .. } => RotationScheduleStatus {
            last_rotation: standing.replaced_at.map(seconds),
            next_rotation: standing.due_at.map(seconds),
            version: standing.course.last().map(|last| last.revision.to_string()).or(told.version.clone()),
            phase: Some(standing.course.phase().as_str().to_owned()),
            ..told
        },
        // A next rotation that nobody will begin would be a lie.
        Outcome::Invalid(_) | Outcome::Taken(_) => RotationScheduleStatus { next_rotation: None, ..told },
        Outcome::Looked { standing: None, .. } => told,
    }
}

/// Returns what is told of the way from one status to the next.
pub fn notes(
    schedule: &RotationSchedule,
    before: &RotationScheduleStatus,
    after: &RotationScheduleStatus,
) -> Vec<Note> {
    let mut notes = Vec::new();
    let made_at = schedule.metadata.creation_timestamp.as_ref().map(|at| at.0.as_second());
    // What was there before the schedule was nobody's rotation.
    let is_since = before.version.is_some()
        || after.last_rotation.map(Timestamp::as_second) >= made_at.or(Some(i64::MAX));
    if let Some(version) = after.version.as_ref().filter(|_| after.version != before.version && is_since) {
        let message = format!("{} is replaced; published as version {version}", schedule.spec.target);
        notes.push(Note { reason: "Rotated".into(), message, is_warning: false });
    }
    let (was, is) = (ready(before), ready(after));
    let same =
        |one: &Condition, other: &Condition| one.reason == other.reason && one.message == other.message;
    let has_changed = !was.zip(is).is_some_and(|(was, is)| same(was, is));
    let is_told = |condition: &&Condition| condition.status == FALSE || condition.reason == ROLLED_BACK;
    if let Some(condition) = is.filter(is_told).filter(|_| has_changed) {
        let (reason, message) = (condition.reason.clone(), condition.message.clone());
        notes.push(Note { reason, message, is_warning: true });
    }
    notes
}

/// A judgement of the condition `Ready`.
struct Words {
    status: &'static str,
    reason: String,
    message: String,
}

fn judge(before: &RotationScheduleStatus, outcome: &Outcome) -> Words {
    let no =
        |reason: &str, message: &str| Words { status: FALSE, reason: reason.into(), message: message.into() };
    match outcome {
        Outcome::Invalid(mistakes) => no("InvalidSpec", mistakes),
        Outcome::Taken(holder) => no("TargetTaken", &taken(holder)),
        Outcome::Looked { standing, error } => {
            let trouble = standing.as_ref().and_then(|standing| standing.course.trouble());
            let is_undone = trouble.is_some_and(|trouble| trouble.is_undone);
            match (error, trouble, standing) {
                (Some(error), ..) if is_undone => no(ROLLED_BACK, &undone(&error.to_string())),
                (Some(error), ..) => no(reason_of(error.kind()), &error.to_string()),
                (None, Some(trouble), _) if is_undone => no(ROLLED_BACK, &undone(&trouble.error)),
                (None, Some(trouble), _) => {
                    let known =
                        ready(before).filter(|was| was.status == FALSE && was.message == trouble.error);
                    no(known.map_or("RotationFailed", |was| &was.reason), &trouble.error)
                }
                (None, None, Some(standing)) => well(standing),
                (None, None, None) => no("RotationFailed", "it is not known how the rotation stands"),
            }
        }
    }
}

/// Says how it goes where nothing is wrong.
fn well(standing: &Standing) -> Words {
    let (reason, message) = match (standing.course.phase(), &standing.held_by, standing.due_at) {
        (_, Some(holder), _) => ("Busy", format!("{holder} is at it")),
        (Phase::Reverting(_) | Phase::Undoing { .. }, ..) => (
            ROLLED_BACK,
            "somebody asked for the value before: it is published again, and the new one goes".into(),
        ),
        (Phase::Published { retire_at, .. }, ..) => (
            "Overlapping",
            format!("the new value is published; the old one goes at {:.0}", seconds(*retire_at)),
        ),
        (Phase::Idle, _, Some(at)) => {
            ("Scheduled", format!("the next rotation is due at {:.0}", seconds(at)))
        }
        (Phase::Idle, _, None) => ("Paused", "nothing is begun by itself".into()),
        (phase, ..) => ("UnderWay", format!("the rotation is {}", phase.as_str())),
    };
    Words { status: TRUE, reason: reason.into(), message }
}

/// Says that a schedule is not kept, since the one of the name `holder` has its target.
pub(super) fn taken(holder: &str) -> String {
    format!("{holder}, which is older, has the same target; delete one of the two, or give it another target")
}

fn undone(error: &str) -> String {
    format!("{error}; what was made is taken back, and what was published still is")
}

fn reason_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "InvalidSpec",
        ErrorKind::Unauthenticated => "LoginRefused",
        ErrorKind::PermissionDenied => "Denied",
        ErrorKind::RateLimited | ErrorKind::Timeout | ErrorKind::Unavailable => "Unreachable",
        _ => "RotationFailed",
    }
}

fn summary(timing: &Timing) -> String {
    let pace = match (&timing.cron, &timing.every) {
        (Some(cron), _) => format!("{cron} {}", timing.time_zone.as_deref().unwrap_or("UTC")),
        (None, Some(every)) => format!("every {every}"),
        (None, None) => "none".to_owned(),
    };
    if timing.paused { format!("{pace} (paused)") } else { pace }
}

/// Returns the condition of a status.
pub fn ready(status: &RotationScheduleStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.kind == READY)
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

const READY: &str = "Ready";
const TRUE: &str = "True";
const FALSE: &str = "False";
const ROLLED_BACK: &str = "RolledBack";
/// An Event takes 1,024 characters.
const LONGEST: usize = 1000;

#[cfg(test)]
mod tests;
