//! Cron patterns in a time zone, with its daylight saving.

use std::cmp::Ordering;
use std::fmt;

use croner::Cron as Pattern;
use croner::errors::CronError as PatternError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

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
}

impl Cron {
    /// Takes a pattern, and the IANA name of a time zone.
    ///
    /// # Errors
    /// Which of them is wrong.
    pub fn try_new(pattern: &str, zone: &str) -> Result<Self, CronError> {
        let zone = TimeZone::get(zone).map_err(|_| CronError::Zone)?;
        Self::parse(pattern, zone, Seconds::Disallowed)
    }

    /// Takes a pattern that may have a field for the second before the five, which is 0 without it, and a time zone.
    ///
    /// # Errors
    /// [`CronError::Pattern`] and [`CronError::Never`].
    pub fn try_with_seconds(pattern: &str, zone: TimeZone) -> Result<Self, CronError> {
        Self::parse(pattern, zone, Seconds::Optional)
    }

    fn parse(pattern: &str, zone: TimeZone, seconds: Seconds) -> Result<Self, CronError> {
        let parser = CronParser::builder().seconds(seconds).year(Year::Disallowed).build();
        let pattern = parser.parse(pattern).map_err(|_| CronError::Pattern)?;
        let cron = Self { pattern, zone };
        // Any year will do, a leap year within it: the calendar repeats.
        cron.next_after(Timestamp::UNIX_EPOCH).map(|_| cron).ok_or(CronError::Never)
    }

    /// Returns the first time after `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let found = self.pattern.find_next_occurrence(&self.place(at), false).ok()?;
        Some(found.0.timestamp())
    }

    /// Returns the last time that is not after `at`.
    pub fn last_until(&self, at: Timestamp) -> Option<Timestamp> {
        let found = self.pattern.find_previous_occurrence(&self.place(at), true).ok()?;
        Some(found.0.timestamp())
    }

    fn place(&self, at: Timestamp) -> Moment {
        Moment(at.to_zoned_datetime(self.zone.clone()))
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pattern.pattern, self.zone.iana_name().unwrap_or_default())
    }
}

/// Lets croner count in jiff's types.
#[derive(Clone, Debug)]
struct Moment(ZonedDateTime);

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        let part = |part: i8| part.unsigned_abs().into();
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(at.year().into(), part(at.month()), part(at.day())),
            CivilTime::from_parts_unchecked(part(at.hour()), part(at.minute()), part(at.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(self.0.weekday().to_sunday_zero_offset().unsigned_abs().into())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, PatternError> {
        let at = datetime(civil).ok_or(PatternError::InvalidDate)?;
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(at);
        let good = |found: Result<ZonedDateTime, jiff::Error>| {
            found.map(Moment).map_err(|_| PatternError::InvalidTime)
        };
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(good(ambiguous.unambiguous())?),
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(good(ambiguous.clone().earlier())?, good(ambiguous.later())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

fn datetime(civil: CivilDateTime) -> Option<DateTime> {
    let part = |part: u32| i8::try_from(part).ok();
    let (year, month, day) = (i16::try_from(civil.year()).ok()?, part(civil.month())?, part(civil.day())?);
    DateTime::new(year, month, day, part(civil.hour())?, part(civil.minute())?, part(civil.second())?, 0).ok()
}
