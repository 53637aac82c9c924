//! Telling the application that a new generation is visible.

mod exec;
mod process;
mod signal;

use std::fmt;
use std::path::PathBuf;

pub use self::exec::Exec;
pub use self::signal::{Signal, SignalNameError, SignalNumber, Target};
use crate::error::Result;

/// What there is to tell: which delivery has which new generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The delivery's name.
    pub delivery: String,
    /// Its directory.
    pub directory: PathBuf,
    /// The name of the generation that is visible now.
    pub generation: String,
}

/// One way to tell the application.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notifier {
    /// Sends a signal.
    Signal(Signal),
    /// Runs a program.
    Exec(Exec),
}

impl Notifier {
    /// Tells, and returns what was done, in words for a log.
    ///
    /// # Errors
    /// [`ErrorKind::Notify`](crate::ErrorKind::Notify), temporary where somebody may be there to be told a moment later.
    ///
    /// # Cancel safety
    /// A program that runs is killed with its group when this is dropped.
    pub async fn notify(&self, event: &Event) -> Result<String> {
        match self {
            Self::Signal(signal) => signal.send().await,
            Self::Exec(exec) => exec.run(event).await,
        }
    }
}

impl fmt::Display for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Exec(exec) => exec.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
