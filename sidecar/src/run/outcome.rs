//! How a command ended, and what that makes of the exit code.

use std::fmt;
use std::io;

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// By itself, with this code.
    Exited(i32),
    /// By the signal of this number.
    Killed(i32),
}

impl Outcome {
    /// Returns the code that a shell gives: the process's own, or 128 and the signal's number (POSIX XCU 2.8.2, as all shells choose it).
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            Self::Killed(signal) => by_signal(signal),
        }
    }

    /// Tells whether the process did what it was to do.
    pub(super) fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Returns the code of somebody who ends because of a signal.
pub(super) fn by_signal(signal: i32) -> u8 {
    u8::try_from(signal).ok().and_then(|signal| signal.checked_add(128)).unwrap_or(u8::MAX)
}

/// Returns the code for a command that could not be started, and why in words (POSIX XCU 2.8.2).
pub(super) fn not_started(error: &io::Error) -> (u8, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, "there is no such program (or no interpreter for it)".into()),
        io::ErrorKind::PermissionDenied => (NOT_EXECUTABLE, "it may not be executed".into()),
        io::ErrorKind::ArgumentListTooLong => (
            NOT_EXECUTABLE,
            "its arguments and its environment are too large together (a variable may have 128 KiB, all of them a quarter of the stack's limit); \
             deliver large values as files"
                .into(),
        ),
        _ => (NOT_EXECUTABLE, format!("it cannot be executed: {error}")),
    }
}

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_shell() {
        for (outcome, code) in [
            (Outcome::Exited(0), 0),
            (Outcome::Exited(7), 7),
            (Outcome::Exited(255), 255),
            (Outcome::Killed(9), 137),
            (Outcome::Killed(15), 143),
            (Outcome::Killed(64), 192),
        ] {
            assert_eq!(outcome.code(), code, "{outcome}");
        }
        assert!(Outcome::Exited(0).is_success());
        assert!(!Outcome::Exited(1).is_success() && !Outcome::Killed(15).is_success());
    }

    #[test]
    fn what_cannot_be_started_has_a_code_of_its_own() {
        let code = |errno: i32| not_started(&io::Error::from_raw_os_error(errno)).0;
        let (no_entry, too_big, no_format, no_access) = (2, 7, 8, 13);
        assert_eq!([no_entry, too_big, no_format, no_access].map(code), [127, 126, 126, 126]);
    }
}
