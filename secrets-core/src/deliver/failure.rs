//! A system call that failed, before it becomes an [`Error`]: a full volume has to be told from everything else.

use std::fmt::Display;

use rustix::io::Errno;

use super::atomic_dir::Settings;
use crate::error::{Error, ErrorKind};

/// What could not be done, to which name in the delivery directory, and the system's reason.
#[derive(Debug)]
pub(super) struct Failure {
    action: &'static str,
    name: String,
    errno: Errno,
    help: Option<&'static str>,
}

impl Failure {
    /// Returns what makes the failure of `action` (such as `make`) on `name` out of the system's reason.
    pub(super) fn of(action: &'static str, name: impl Display) -> impl FnOnce(Errno) -> Self {
        let name = name.to_string();
        move |errno| Self { action, name, errno, help: None }
    }

    /// Adds a sentence that says what the reader can do, where the system's reason is `errno`.
    pub(super) fn with_help_on(mut self, errno: Errno, help: &'static str) -> Self {
        if self.errno == errno {
            self.help = Some(help);
        }
        self
    }

    /// Logs that the failure kept the program from doing `what`, where nothing else depends on it.
    pub(super) fn log(self, settings: &Settings, what: &str) {
        let error = Error::from(self).with("directory", settings.directory.display());
        tracing::warn!(%error, delivery = settings.name, "could not {what}");
    }

    /// Tells whether the volume has no room left, for bytes or for files.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.errno, Errno::NOSPC | Errno::DQUOT)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { action, name, errno, help } = failure;
        let error = Self::new(ErrorKind::Deliver, OPERATION, format!("cannot {action} {name:?}: {errno}"));
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// The operation that the errors of this module name.
pub(super) const OPERATION: &str = "deliver";
