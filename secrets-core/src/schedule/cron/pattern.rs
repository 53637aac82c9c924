//! The pattern itself, as croner reads it.

use std::cmp::Ordering;
use std::fmt;

use croner::errors::CronError as PatternError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, ZonedDateTime};

use super::CronError;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pattern(croner::Cron);

impl Pattern {
    /// Reads five fields, with `seconds` also six, of which the first is the second.
    pub(super) fn parse(text: &str, seconds: bool) -> Result<Self, CronError> {
        let seconds = if seconds { Seconds::Optional } else { Seconds::Disallowed };
        let parser = CronParser::builder().seconds(seconds).year(Year::Disallowed).build();
        parser.parse(text).map(Self).map_err(|_| CronError::Pattern)
    }

    pub(super) fn next_after(&self, at: ZonedDateTime) -> Option<ZonedDateTime> {
        self.0.find_next_occurrence(&Moment(at), false).ok().map(|found| found.0)
    }

    pub(super) fn last_until(&self, at: ZonedDateTime) -> Option<ZonedDateTime> {
        self.0.find_previous_occurrence(&Moment(at), true).ok().map(|found| found.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.pattern)
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
