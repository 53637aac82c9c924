//! What an examination finds out, step by step: how each thing is that was looked at, or what is wrong with it.

use crate::error::{Error, Result};

/// One step of an examination.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: String,
    /// How it is.
    pub outcome: Outcome,
}

/// How a thing is that was looked at.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As it should be; in words, without a secret.
    Good(String),
    /// Not so: what is wrong, and what to do.
    Bad(Error),
    /// Unknown: a look would have used it up, or what it needs is not there. In words.
    LeftAlone(&'static str),
}

impl Finding {
    /// Notes what came of a look at `subject`.
    pub fn new(subject: impl Into<String>, result: Result<String>) -> Self {
        Self { subject: subject.into(), outcome: result.map_or_else(Outcome::Bad, Outcome::Good) }
    }

    /// Notes that `subject` was not looked at, and why.
    pub fn left_alone(subject: impl Into<String>, why: &'static str) -> Self {
        Self { subject: subject.into(), outcome: Outcome::LeftAlone(why) }
    }

    /// Tells whether something is wrong.
    pub fn is_bad(&self) -> bool {
        matches!(self.outcome, Outcome::Bad(_))
    }
}
