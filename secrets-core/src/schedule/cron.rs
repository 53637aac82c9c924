//! Cron patterns in a time zone, with its daylight saving.

#[cfg_attr(not(feature = "cron"), path = "cron/no_pattern.rs")]
mod pattern;

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use self::pattern::Pattern;

/// A pattern of five fields (minute, hour, day of month, month, day of week; also `@daily` and the like) in a time zone.
///
/// The time of a pattern that has one a day (one minute, one hour) never gets lost and never doubles: where clocks are set ahead, a time that does not exist
/// counts as the first moment after the gap; where they are set back, one that exists twice counts once, the first. A pattern with several times a day (a wildcard, a
/// list, a range or a step) follows the clock on the wall: what it shows never does not count, and what it shows twice counts twice.
///
/// Of a day of month and a day of week that are both given, either will do. `L` is the last day of the month, `FRI#2` its second Friday, `FRI#L` its last,
/// `15W` the weekday nearest to the 15th.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cron {
    pattern: Pattern,
    zone: TimeZone,
}

/// Why a text is not a cron pattern, or a name not that of a time zone.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum CronError {
    /// The pattern cannot be read.
    #[error("must be a cron pattern such as \"0 2 * * *\" (minute, hour, day of month, month, day of week)")]
    Pattern,
    /// The pattern never comes up.
    #[error("never comes up")]
    Never,
    /// The name is not one of the time zone database.
    #[error("must be the name of a time zone such as Europe/Berlin or UTC")]
    Zone,
    /// There is nothing here to read it with.
    #[error("needs a program that was built with the feature `cron`")]
    Absent,
}

impl Cron {
    /// Takes a pattern, and the IANA name of a time zone.
    ///
    /// # Errors
    /// Which of them is wrong.
    pub fn try_new(pattern: &str, zone: &str) -> Result<Self, CronError> {
        let zone = TimeZone::get(zone).map_err(|_| CronError::Zone)?;
        Self::parse(pattern, zone, false)
    }

    /// Takes a pattern that may have a field for the second before the five, which is 0 without it, and a time zone.
    ///
    /// # Errors
    /// [`CronError::Pattern`] and [`CronError::Never`].
    pub fn try_with_seconds(pattern: &str, zone: TimeZone) -> Result<Self, CronError> {
        Self::parse(pattern, zone, true)
    }

    fn parse(pattern: &str, zone: TimeZone, seconds: bool) -> Result<Self, CronError> {
        let cron = Self { pattern: Pattern::parse(pattern, seconds)?, zone };
        // Any year will do, a leap year within it: the calendar repeats.
        cron.next_after(Timestamp::UNIX_EPOCH).map(|_| cron).ok_or(CronError::Never)
    }

    /// Returns the first time after `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.pattern.next_after(self.place(at)).map(|found| found.timestamp())
    }

    /// Returns the last time that is not after `at`.
    pub fn last_until(&self, at: Timestamp) -> Option<Timestamp> {
        self.pattern.last_until(self.place(at)).map(|found| found.timestamp())
    }

    fn place(&self, at: Timestamp) -> ZonedDateTime {
        at.to_zoned_datetime(self.zone.clone())
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pattern, self.zone.iana_name().unwrap_or_default())
    }
}
