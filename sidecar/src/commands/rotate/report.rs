//! How rotations stand, as a table or as JSON.

use jiff::Timestamp;
use keywheel_core::Error;
use keywheel_core::rotation::{Look, Progress, Rotator, Standing};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::table::{self, or_none, span};

/// How one rotation stands, or why that is not known.
pub(super) struct Report {
    name: String,
    target: String,
    strategy: &'static str,
    standing: Option<Standing>,
    published: Option<String>,
    error: Option<Error>,
}

impl Report {
    pub(super) fn of_look(rotator: &Rotator, look: Result<Standing, Error>) -> Self {
        let (standing, error) = match look {
            Ok(standing) => (Some(standing), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            name: rotator.name().into(),
            target: rotator.target().to_string(),
            strategy: rotator.strategy(),
            standing,
            published: None,
            error,
        }
    }

    pub(super) fn of_outcome(rotator: &Rotator, outcome: Result<Progress, Error>) -> Self {
        match outcome {
            Ok(progress) => Self {
                published: progress.published.map(|revision| revision.to_string()),
                ..Self::of_look(rotator, Ok(progress.standing))
            },
            Err(error) => Self::of_look(rotator, Err(error)),
        }
    }

    /// Takes the last look of a server's.
    pub(super) fn of_last(look: Look) -> Self {
        let Look { name, target, strategy, standing, error, .. } = look;
        Self { name, target, strategy, standing, published: None, error }
    }

    fn trouble(&self) -> Option<String> {
        let noted = self.standing.as_ref().and_then(|standing| standing.course.trouble());
        self.error.as_ref().map(Error::to_string).or_else(|| noted.map(|trouble| trouble.error.clone()))
    }

    fn row(&self, now: Timestamp) -> [String; 8] {
        let standing = self.standing.as_ref();
        let course = standing.map(|standing| &standing.course);
        let ago = |at: Timestamp| format!("{} ago", span(at, now));
        let coming = |at: Timestamp| if at <= now { "due".into() } else { format!("in {}", span(now, at)) };
        let failures = course.and_then(|course| course.trouble()).map(|trouble| trouble.count.to_string());
        [
            self.name.clone(),
            self.strategy.into(),
            self.target.clone(),
            or_none(self.state()),
            or_none(standing.and_then(|standing| standing.replaced_at).map(ago)),
            or_none(standing.and_then(|standing| standing.due_at).map(coming)),
            or_none(failures),
            or_none(self.trouble()),
        ]
    }

    /// Returns where the course stands, and who is waited for.
    fn state(&self) -> Option<String> {
        let standing = self.standing.as_ref()?;
        let phase = standing.course.phase().as_str();
        Some(match standing.acknowledged {
            Some(said) => format!("{phase}, used by {} of {}", said.count, said.expected),
            None => phase.to_owned(),
        })
    }

    fn json(&self) -> Value {
        let standing = self.standing.as_ref();
        let course = standing.map(|standing| &standing.course);
        json!({
            "name": self.name,
            "target": self.target,
            "strategy": self.strategy,
            "phase": course.map(|course| course.phase().as_str()),
            "version": course.and_then(|course| course.last()).map(|last| last.revision.as_str()),
            "published": self.published,
            "replaced_at": standing.and_then(|standing| standing.replaced_at),
            "due_at": standing.and_then(|standing| standing.due_at),
            "acknowledged": standing.and_then(|standing| standing.acknowledged).map(|said| said.count),
            "held_by": standing.and_then(|standing| standing.held_by.as_deref()),
            "failures": course.and_then(|course| course.trouble()).map_or(0, |trouble| trouble.count),
            "error": self.trouble(),
        })
    }
}

/// Writes all of them.
pub(super) fn write(reports: &[Report], as_json: bool, now: Timestamp) -> String {
    if as_json {
        let reports: Vec<Value> = reports.iter().map(Report::json).collect();
        return format!("{:#}\n", Value::Array(reports));
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(reports.iter().map(|report| report.row(now)));
    table::write(&rows)
}

const HEADINGS: [&str; 8] =
    ["ROTATION", "STRATEGY", "TARGET", "STATE", "ROTATED", "NEXT", "FAILED", "LAST ERROR"];

/// Returns the failure of the first that failed, as the program ends with it.
pub(super) fn failure(reports: &[Report]) -> Result<(), Failure> {
    let failed: Vec<&Error> = reports.iter().filter_map(|report| report.error.as_ref()).collect();
    let Some((first, others)) = failed.split_first() else { return Ok(()) };
    let lines: Vec<String> = failed.iter().map(ToString::to_string).collect();
    let failure = Failure::from((*first).clone());
    match others.is_empty() {
        true => Err(failure),
        false => {
            Err(Failure::coded(format!("{} failed\n{}", failed.len(), lines.join("\n")), failure.code()))
        }
    }
}
