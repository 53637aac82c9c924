//! Reads the section `schedule:` of a rotation.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Freezes, Pace, RotationTiming};
use crate::config::{Item, Section, Setting};
use crate::schedule::{Cron, CronError};

impl RotationTiming {
    /// Reads `cron` (with `time_zone` and `window`) or `every`, and `jitter`, `max_age`, `blackout` and `paused`; mistakes go to the section.
    pub fn parse(mut section: Section<'_>) -> Option<Self> {
        let Zone(zone) = section.optional("time_zone").unwrap_or(Zone(TimeZone::UTC));
        let cron = section.item("cron");
        let every = section.item("every");
        let window = section.item("window");
        let jitter = section.optional("jitter").unwrap_or_default();
        let pace = match (cron, every) {
            (Some(cron), None) => read_cron(&cron, window.as_ref(), &zone, jitter),
            (None, Some(every)) => {
                if let Some(window) = window {
                    window.mistake("goes with `cron`; with `every`, rotations have no times to be within");
                }
                read_span(&every).map(Pace::Every)
            }
            (Some(_), Some(every)) => {
                every.mistake("goes not with `cron`; keep one of them");
                None
            }
            (None, None) => {
                section.mistake("needs `cron`, such as \"0 3 * * 0\", or `every`, such as 30d");
                None
            }
        };
        let max_age = section.item("max_age").and_then(|item| read_max_age(&item, pace.as_ref(), jitter));
        let freezes = section.item("blackout").map(|list| read_freezes(&list, &zone)).unwrap_or_default();
        let paused = section.optional("paused").unwrap_or(false);
        section.finish();
        Some(Self { pace: pace?, jitter, max_age, freezes, paused, shortest: Duration::ZERO })
    }
}

fn read_cron(item: &Item<'_>, window: Option<&Item<'_>>, zone: &TimeZone, jitter: Duration) -> Option<Pace> {
    let pattern: String = item.parse()?;
    let cron = Cron::try_with_seconds(&pattern, zone.clone());
    let window = match window {
        Some(window) => Some((window, read_span(window)?)),
        None => None,
    };
    if let Some((item, span)) = window
        && span < jitter + ROOM
    {
        item.mistake("must be at least 2m longer than `jitter`: a rotation needs time");
    }
    let cron = cron.map_err(|error| {
        item.mistake(match error {
            CronError::Never => "is a time that never comes".to_owned(),
            CronError::Pattern => format!("{error}, perhaps with a field for the second before them"),
            other => other.to_string(),
        });
    });
    Some(Pace::Cron { cron: Box::new(cron.ok()?), window: window.map(|(_, span)| span) })
}

fn read_max_age(item: &Item<'_>, pace: Option<&Pace>, jitter: Duration) -> Option<Duration> {
    let age = read_span(item)?;
    if let Some(Pace::Every(every)) = pace
        && age < *every + jitter
    {
        item.mistake("must not be shorter than `every` and `jitter` together");
    }
    Some(age)
}

fn read_span(item: &Item<'_>) -> Option<Duration> {
    let span: Duration = item.parse()?;
    if span.is_zero() {
        item.mistake("must be more than zero");
        return None;
    }
    Some(span)
}

fn read_freezes(list: &Item<'_>, zone: &TimeZone) -> Freezes {
    let spans = list.list().iter().filter_map(|item| read_freeze(item, zone)).collect();
    let freezes = Freezes::new(spans);
    let longest = freezes.spans().iter().map(|(from, until)| until.duration_since(*from)).max();
    if longest.is_some_and(|longest| longest > LONGEST_FREEZE) {
        list.mistake("leaves no time for a rotation in more than a year; `paused: true` stops them for good");
    }
    freezes
}

fn read_freeze(item: &Item<'_>, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let mut section = item.section()?;
    let from: Option<Moment> = section.required("from");
    let until: Option<Moment> = section.required("until");
    section.finish();
    let span = (from?.in_zone(zone), until?.in_zone(zone));
    match span {
        (Some(from), Some(until)) if from < until => Some((from, until)),
        _ => {
            item.mistake("needs an `until` that is after `from`; a date is the beginning of its day");
            None
        }
    }
}

/// A time zone by its IANA name.
struct Zone(TimeZone);

impl Setting for Zone {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let zone = TimeZone::get(&String::parse(value)?);
        zone.map(Self).map_err(|_| CronError::Zone.to_string())
    }
}

/// A moment as people write it: with its offset, or by the schedule's time zone.
#[derive(Clone, Copy)]
enum Moment {
    Absolute(Timestamp),
    Local(DateTime),
}

impl Moment {
    fn in_zone(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Absolute(at) => Some(at),
            Self::Local(at) => zone.to_timestamp(at).ok(),
        }
    }
}

impl Setting for Moment {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = String::parse(value)?;
        // An annotation with a time zone would be skipped.
        let plain = !text.contains('[');
        let absolute = text.parse().map(Self::Absolute).ok();
        let moment = absolute.or_else(|| text.parse().map(Self::Local).ok()).filter(|_| plain);
        moment.ok_or_else(|| {
            "must be a date such as 2026-12-20 or a time such as 2026-12-20T18:00 in the schedule's time zone, or with an offset (…+01:00)".into()
        })
    }
}

/// What a window has to leave for the rotation itself.
const ROOM: Duration = Duration::from_secs(120);
const LONGEST_FREEZE: SignedDuration = SignedDuration::from_hours(366 * 24);
