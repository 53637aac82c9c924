//! In place of the pattern in a build without patterns: there is none.

use std::fmt;

use jiff::ZonedDateTime;

use super::CronError;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Pattern {}

impl Pattern {
    /// Refuses.
    pub(super) fn parse(_text: &str, _seconds: bool) -> Result<Self, CronError> {
        Err(CronError::Absent)
    }

    pub(super) fn next_after(&self, _at: ZonedDateTime) -> Option<ZonedDateTime> {
        match *self {}
    }

    pub(super) fn last_until(&self, _at: ZonedDateTime) -> Option<ZonedDateTime> {
        match *self {}
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
