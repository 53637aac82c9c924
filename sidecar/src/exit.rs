//! Exit codes: 0 done, 1 failed, 64 usage or configuration, 69 the provider cannot be reached, 77 permission denied.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use keywheel_core::config::ConfigError;
use keywheel_core::{Error, ErrorKind};

/// Why the program ends without having done its work: what to print, and the code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

const FAILED: u8 = 1;
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const NO_PERMISSION: u8 = 77;

impl Failure {
    /// A failure of no special kind.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }

    /// A wrong call.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: USAGE }
    }

    /// Somebody who does not answer.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::coded(message, UNAVAILABLE)
    }

    /// A failure with a code of its own.
    pub(crate) fn coded(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), code }
    }

    /// Adds a line to the message.
    pub(crate) fn with_note(mut self, note: &str) -> Self {
        self.message = format!("{}\n{note}", self.message);
        self
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Prints the message for a reader and returns the code.
    pub(crate) fn report(&self) -> ExitCode {
        // There is nobody left to tell when standard error is gone.
        writeln!(std::io::stderr(), "keywheel: {}", self.message).ok();
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Config => USAGE,
            ErrorKind::PermissionDenied | ErrorKind::Unauthenticated | ErrorKind::Intercepted => {
                NO_PERMISSION
            }
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited => UNAVAILABLE,
            _ => FAILED,
        };
        Self { message: error.to_string(), code }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let count = error.mistakes().len();
        let (noun, verb) = if count == 1 { ("mistake", "is") } else { ("mistakes", "are") };
        Self::usage(format!("there {verb} {count} {noun} in the configuration\n{error}"))
    }
}

/// Prints what clap has to say: help and version are no failures, anything else is a wrong call.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // There is nobody left to tell when the output is gone.
    error.print().ok();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}
