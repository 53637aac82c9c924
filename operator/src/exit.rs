//! Exit codes: 0 done, 1 failed, 64 usage, 69 the cluster cannot be reached, 77 permission denied.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Why the program ends without having done its work: what to print, and the code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// A failure of no special kind.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// A wrong call.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: USAGE }
    }

    /// Somebody who does not answer.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 69 }
    }

    /// Somebody who refuses.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 77 }
    }

    /// Prints the message for a reader and returns the code.
    pub(crate) fn report(&self) -> ExitCode {
        // There is nobody left to tell when standard error is gone.
        writeln!(std::io::stderr(), "keywheel-operator: {self}").ok();
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints what clap has to say: help and version are no failures, anything else is a wrong call.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // There is nobody left to tell when the output is gone.
    error.print().ok();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

const USAGE: u8 = 64;
