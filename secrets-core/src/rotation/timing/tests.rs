use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::clock::until;
use crate::config::read_item;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const NAME: &str = "orders-db";

fn parse(text: &str) -> Result<RotationTiming, Vec<String>> {
    read_item(text, |item| RotationTiming::parse(item.section()?))
}

fn timing(text: &str) -> RotationTiming {
    parse(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Tells what is next: `now`, `never` or the moment.
fn next(timing: &RotationTiming, baseline: &str, now: &str) -> String {
    match timing.next(NAME, Some(at(baseline)), at(now)) {
        Due::Now(_) => "now".into(),
        Due::At(at, _) => at.to_string(),
        Due::Never => "never".into(),
    }
}

#[test]
fn a_calendar_is_followed_in_its_time_zone() {
    let sundays = timing("{cron: '0 3 * * 0', time_zone: Europe/Berlin}");
    assert_eq!(next(&sundays, "2026-11-29T02:00:00Z", "2026-11-29T02:00:00Z"), "2026-12-06T02:00:00Z");
    assert_eq!(next(&sundays, "2026-07-01T00:00:00Z", "2026-07-02T00:00:00Z"), "2026-07-05T01:00:00Z");
    let seconds = timing("{cron: '*/5 * * * * *'}");
    assert_eq!(next(&seconds, "2026-11-29T02:00:01Z", "2026-11-29T02:00:01Z"), "2026-11-29T02:00:05Z");
}

#[test]
fn missed_occurrences_become_one_at_once() {
    let daily = timing("{cron: '0 3 * * *'}");
    assert_eq!(next(&daily, "2026-11-20T03:00:00Z", "2026-11-29T12:00:00Z"), "now");
    assert_eq!(next(&daily, "2026-11-29T12:00:00Z", "2026-11-29T12:00:00Z"), "2026-11-30T03:00:00Z");
}

#[test]
fn a_window_that_was_missed_is_left_for_the_next() {
    let daily = timing("{cron: '0 3 * * *', window: 2h, max_age: 30d}");
    let baseline = "2026-11-20T03:00:00Z";
    assert_eq!(next(&daily, baseline, "2026-11-25T05:00:00Z"), "now");
    assert_eq!(next(&daily, baseline, "2026-11-25T05:00:00.000000001Z"), "2026-11-26T03:00:00Z");
    assert_eq!(next(&daily, baseline, "2026-12-20T06:00:00Z"), "now", "it is too old to wait");
    assert_eq!(
        daily.next(NAME, Some(at(baseline)), at("2026-12-20T06:00:00Z")).because(),
        Some(Because::MaxAge)
    );
}

#[test]
fn a_span_is_counted_from_the_last_rotation() {
    let monthly = timing("{every: 30d, max_age: 31d}");
    assert_eq!(next(&monthly, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"), "2026-12-01T00:00:00Z");
    assert_eq!(next(&monthly, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"), "now");
}

#[test]
fn what_has_no_value_is_due_at_once() {
    let now = at("2026-11-29T12:00:00Z");
    let daily = timing("{cron: '0 3 * * *', window: 1h}");
    assert_eq!(daily.next(NAME, None, now), Due::Now(Because::NoValue));
    let frozen = timing("{every: 1d, blackout: [{from: 2026-11-29, until: 2026-11-30}]}");
    assert_eq!(frozen.next(NAME, None, now), Due::At(at("2026-11-30T00:00:00Z"), Because::NoValue));
    let paused = timing("{every: 1d, paused: true}");
    assert!(paused.is_paused());
    assert_eq!(paused.next(NAME, None, now), Due::Never);
    assert_eq!(paused.next(NAME, Some(now), at("2030-01-01T00:00:00Z")), Due::Never);
}

#[test]
fn nothing_begins_in_a_freeze() {
    let text = |rest: &str| {
        format!("{{{rest}, time_zone: Europe/Berlin, blackout: [{{from: 2026-12-20, until: 2027-01-06}}]}}")
    };
    let end = "2027-01-05T23:00:00Z";
    let any = timing(&text("cron: '0 3 * * *'"));
    assert_eq!(next(&any, "2026-12-19T12:00:00Z", "2026-12-19T12:00:00Z"), end);
    assert_eq!(next(&any, "2026-12-10T12:00:00Z", "2026-12-25T12:00:00Z"), end);
    assert_eq!(next(&any, "2026-12-10T12:00:00Z", "2026-12-19T22:59:59Z"), "now");
    assert_eq!(any.frozen_until(at("2026-12-19T23:00:00Z")), Some(at(end)));
    assert_eq!(any.frozen_until(at(end)), None);
    let windowed = timing(&text("cron: '0 3 * * *', window: 2h"));
    assert_eq!(next(&windowed, "2026-12-19T12:00:00Z", "2026-12-19T12:00:00Z"), "2027-01-06T02:00:00Z");
    let late = timing(&text("cron: '0 23 * * *', window: 2h"));
    assert_eq!(next(&late, "2026-12-19T22:30:00Z", "2026-12-19T22:30:00Z"), end, "its window is still open");
    let old = timing(&text("cron: '0 3 1 * *', max_age: 10d"));
    assert_eq!(next(&old, "2026-12-12T12:00:00Z", "2026-12-12T12:00:00Z"), end);
    let every = timing(&text("every: 10d"));
    assert_eq!(next(&every, "2026-12-12T12:00:00Z", "2026-12-24T12:00:00Z"), end);
}

#[test]
fn freezes_that_touch_are_one_and_may_have_a_time() {
    let timing = timing(
        "{every: 1h, time_zone: America/New_York, blackout: [
          {from: 2026-12-21T08:00, until: 2026-12-22}, {from: 2026-12-20, until: '2026-12-21T14:00:00+01:00'}]}",
    );
    assert_eq!(timing.frozen_until(at("2026-12-20T05:00:00Z")), Some(at("2026-12-22T05:00:00Z")));
}

#[test]
fn a_rotator_that_was_down_for_a_week_rotates_once() {
    for text in ["{cron: '0 * * * *'}", "{cron: '0 * * * *', window: 30m}", "{every: 1h}"] {
        let timing = timing(text);
        let up = at("2026-11-29T12:10:00Z");
        assert!(matches!(timing.next(NAME, Some(at("2026-11-22T12:00:00Z")), up), Due::Now(_)), "{text}");
        let after = timing.next(NAME, Some(up), up).at(up).unwrap();
        assert!(until(up, after) >= HOUR / 2, "{text}: {after}");
    }
}

/// Says how often each day of the zone's calendar is in these moments.
fn days(moments: &[Timestamp], zone: &str) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    moments.iter().map(|at| zone.to_datetime(*at).date().to_string()).collect()
}

#[test]
fn daylight_saving_neither_loses_a_day_nor_doubles_one() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC"] {
        for time in ["30 2", "0 2", "15 2", "45 1", "0 1", "0 0", "59 23", "0 3"] {
            for rest in ["", ", window: 30m, jitter: 10m", ", max_age: 3d"] {
                let daily = timing(&format!("{{cron: '{time} * * *', time_zone: {zone}{rest}}}"));
                let begin = at("2026-01-01T12:00:00Z");
                let occurrence = |(_, because)| match because {
                    Because::Schedule { occurrence } => occurrence,
                    other => panic!("{other}"),
                };
                let found: Vec<Timestamp> =
                    daily.preview(NAME, Some(begin), begin).take(400).map(occurrence).collect();
                let days = days(&found, zone);
                let distinct: BTreeSet<&String> = days.iter().collect();
                assert_eq!(distinct.len(), days.len(), "{time} in {zone}: a day is doubled");
                let span = found[399].duration_since(found[0]).as_hours();
                assert!((span - 399 * 24).abs() <= 1, "{time} in {zone}: a day is lost");
            }
        }
    }
}

#[test]
fn an_hourly_schedule_runs_each_hour_that_there_is() {
    for zone in ["Europe/Berlin", "America/New_York", "UTC"] {
        let hourly = timing(&format!("{{cron: '0 * * * *', time_zone: {zone}}}"));
        let begin = at("2026-01-01T12:00:00Z");
        let mut last = begin;
        for (moment, _) in hourly.preview(NAME, Some(begin), begin).take(366 * 24) {
            assert_eq!(until(last, moment), HOUR, "{zone}: {moment}");
            last = moment;
        }
    }
}

#[test]
fn a_leap_day_comes_every_four_years_or_eight() {
    let leap = timing("{cron: '0 0 29 2 *'}");
    let begin = at("2090-01-01T00:00:00Z");
    let found: Vec<String> =
        leap.preview(NAME, Some(begin), begin).take(3).map(|(at, _)| at.to_string()).collect();
    assert_eq!(found, ["2092-02-29T00:00:00Z", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"]);
}

#[test]
fn the_calendar_ends() {
    let timing = timing("{every: 10000d}");
    assert_eq!(timing.next(NAME, Some(at("9990-01-01T00:00:00Z")), at("9991-01-01T00:00:00Z")), Due::Never);
    assert_eq!(timing.preview(NAME, None, at("9980-01-01T00:00:00Z")).count(), 1);
}

#[test]
fn reasons_read_well() {
    let occurrence = at("2026-11-29T02:00:00.25Z");
    assert_eq!(Because::Schedule { occurrence }.to_string(), "scheduled for 2026-11-29T02:00:00Z");
    assert_eq!(Because::MaxAge.to_string(), "the value is as old as max_age allows");
}

/// Asserts that there is this one mistake.
#[track_caller]
fn assert_mistake(text: &str, place: &str, words: &str) {
    let found = parse(text).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(place) && found[0].contains(words), "{}", found[0]);
}

#[test]
fn mistakes_are_found_each_in_its_place() {
    assert_mistake("{jitter: 1m}", "1:1: the file", "needs `cron`");
    assert_mistake("{cron: '0 3 * * 0', every: 1d}", "1:28: every", "keep one");
    assert_mistake("{cron: '0 3 * *'}", "1:8: cron", "must be a cron pattern such as");
    assert_mistake("{cron: '0 3 31 2 *'}", "1:8: cron", "never comes");
    assert_mistake("{cron: '0 3 * * 0', time_zone: Mars/Olympus}", "1:32: time_zone", "Europe/Berlin");
    assert_mistake(
        "{cron: '0 3 * * 0', window: 11m, jitter: 10m}",
        "1:29: window",
        "2m longer than `jitter`",
    );
    assert_mistake("{every: 1d, window: 2h}", "1:21: window", "goes with `cron`");
    assert_mistake("{every: 0s}", "1:9: every", "more than zero");
    assert_mistake("{every: 1d, max_age: 0s}", "1:22: max_age", "more than zero");
    assert_mistake("{cron: '@daily', window: 0s}", "1:26: window", "more than zero");
    assert_mistake("{every: 1 month}", "1:9: every", "is not a duration");
    assert_mistake(
        "{every: 30d, jitter: 1h, max_age: 30d}",
        "1:35: max_age",
        "shorter than `every` and `jitter`",
    );
    assert_mistake("{every: 1d, blackout: [{from: 2026-01-01}]}", "1:24: blackout[0]", "needs `until`");
    assert_mistake("{every: 1d, blackout: [{from: 2026-01-02, until: 2026-01-02}]}", "1:24", "after `from`");
    assert_mistake(
        "{every: 1d, blackout: [{from: soon, until: 2026-01-02}]}",
        "1:31",
        "must be a date such as",
    );
    assert_mistake(
        "{every: 1d, blackout: [{from: '2026-01-01T00:00[Europe/Paris]', until: 2026-01-02}]}",
        "1:31",
        "must be a date such as",
    );
    assert_mistake(
        "{every: 1d, blackout: [{from: 2026-01-01, until: 2026-07-01}, {from: 2026-06-01, until: 2027-02-01}]}",
        "1:23: blackout",
        "`paused: true`",
    );
    assert_mistake("{every: 1d, pause: true}", "1:13", "did you mean `paused`?");
}

/// Schedules of every kind, as text.
fn schedules() -> impl Strategy<Value = String> {
    let cron = (
        prop_oneof![
            Just("0 3 * * *"),
            Just("30 2 * * 0"),
            Just("*/20 * * * *"),
            Just("0 */6 * * *"),
            Just("15 1,13 1,15 * *"),
            Just("0 0 29 2 *"),
            Just("10 30 2 L * *"),
        ],
        proptest::option::of(3u32..3000),
    )
        .prop_flat_map(|(cron, window)| {
            let longest = window.map_or(600, |window| window - 2);
            (0..longest).prop_map(move |jitter| {
                let window = window.map(|window| format!(", window: {window}m")).unwrap_or_default();
                format!("cron: '{cron}'{window}, jitter: {jitter}m")
            })
        });
    let every = (1u32..60, 0u32..600).prop_map(|(days, jitter)| format!("every: {days}d, jitter: {jitter}m"));
    let zone = prop_oneof![Just("Europe/Berlin"), Just("America/New_York"), Just("Australia/Lord_Howe")];
    let freezes = proptest::collection::vec((1u32..340, 1u32..25), 0..4).prop_map(|freezes| {
        let begin = at("2026-01-01T00:00:00Z");
        let entries = freezes.iter().map(|(day, days)| {
            let from = later(begin, DAY * *day);
            format!("{{from: '{from}', until: '{}'}}", later(from, DAY * *days))
        });
        entries.collect::<Vec<_>>().join(", ")
    });
    (prop_oneof![cron, every], zone, proptest::option::of(61u32..400), freezes).prop_map(
        |(pace, zone, max_age, freezes)| {
            let max_age = max_age.map(|days| format!(", max_age: {days}d")).unwrap_or_default();
            format!("{{{pace}, time_zone: {zone}{max_age}, blackout: [{freezes}]}}")
        },
    )
}

/// A moment of 2026, which has the freezes in it.
fn moments() -> impl Strategy<Value = Timestamp> {
    (0i64..366 * 86_400_000)
        .prop_map(|millis| at("2026-01-01T00:00:00Z") + SignedDuration::from_millis(millis))
}

proptest! {
    #[test]
    fn the_answer_stays_until_it_is_due(
        text in schedules(), baseline in moments(), wait in 0u64..200 * 86_400, part in 0.0..1.0f64,
    ) {
        let timing = timing(&text);
        let now = later(baseline, Duration::from_secs(wait));
        let next = timing.next(NAME, Some(baseline), now);
        prop_assert_eq!(next, timing.next(NAME, Some(baseline), now));
        let due = next.at(now).unwrap();
        prop_assert!(due >= now);
        prop_assert!(timing.frozen_until(due).is_none(), "{} is frozen", due);
        if let Due::At(due, because) = next {
            let between = later(now, until(now, due).mul_f64(part));
            prop_assert_eq!(timing.next(NAME, Some(baseline), between).at(between), Some(due));
            prop_assert_eq!(timing.next(NAME, Some(baseline), due), Due::Now(because));
        }
    }

    #[test]
    fn waiting_longer_never_makes_it_due_earlier(
        text in schedules(), baseline in moments(), wait in 0u64..200 * 86_400, more in 0u64..40 * 86_400,
    ) {
        let timing = timing(&text);
        let now = later(baseline, Duration::from_secs(wait));
        let then = later(now, Duration::from_secs(more));
        let due = |now| timing.next(NAME, Some(baseline), now).at(now).unwrap();
        prop_assert!(due(now) <= due(then));
    }

    #[test]
    fn an_occurrence_is_served_once_and_in_its_window(
        text in schedules(), baseline in moments(), lateness in proptest::collection::vec(0u64..8 * 86_400, 12),
    ) {
        let timing = timing(&text);
        let (mut baseline, mut served) = (baseline, BTreeSet::new());
        for late in lateness {
            let due = timing.next(NAME, Some(baseline), baseline).at(baseline).unwrap();
            // The rotator looks when it pleases: when it is due, or days later.
            let looks = if late % 3 == 0 { later(due, Duration::from_secs(late)) } else { due };
            let next = timing.next(NAME, Some(baseline), looks);
            let begins = next.at(looks).unwrap();
            match next.because().unwrap() {
                Because::Schedule { occurrence } => {
                    prop_assert!(occurrence > baseline, "{occurrence} is over at {baseline}");
                    prop_assert!(served.insert(occurrence), "{occurrence} is served twice");
                    prop_assert!(begins >= occurrence);
                    if let Pace::Cron { window: Some(window), .. } = timing.pace {
                        prop_assert!(until(occurrence, begins) <= window);
                    }
                }
                Because::MaxAge => prop_assert!(until(baseline, begins) >= timing.max_age.unwrap()),
                Because::NoValue => prop_assert!(false, "there is a value"),
            }
            baseline = begins;
        }
    }

    #[test]
    fn nothing_gets_older_than_it_may_outside_of_a_freeze(text in schedules(), baseline in moments()) {
        let timing = timing(&text);
        let due = timing.next(NAME, Some(baseline), baseline).at(baseline).unwrap();
        if let Some(max_age) = timing.max_age {
            prop_assert!(due <= timing.freezes.clear(later(baseline, max_age)));
        }
    }

    #[test]
    fn jitter_is_the_same_everywhere_and_another_each_time(name in "[a-z]{1,9}", days in 1u32..100, start in moments()) {
        let spread = timing(&format!("{{every: {days}d, jitter: 1d}}"));
        let due = |name: &str, from| spread.next(name, Some(from), start).at(start).unwrap();
        let occurrence = later(start, DAY * days);
        let own = due(&name, start);
        prop_assert_eq!(own, due(&name, start));
        prop_assert!(own >= occurrence && own < later(occurrence, DAY));
        prop_assert_ne!(until(occurrence, own), until(later(occurrence, DAY), due(&name, later(start, DAY))));
        prop_assert_ne!(own, due(&format!("{name}-2"), start));
    }
}

proptest! {
    // Each case is a year.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn without_window_and_freeze_no_occurrence_is_passed_over(
        hour in 0u8..24, minute in 0u8..60, jitter in 0u32..1440, start in moments(),
        zone in prop_oneof![Just("Europe/Berlin"), Just("America/New_York"), Just("Australia/Lord_Howe")],
    ) {
        let pattern = format!("{minute} {hour} * * *");
        // Less than the shortest day has.
        let jitter = jitter.min(22 * 60);
        let daily = timing(&format!("{{cron: '{pattern}', time_zone: {zone}, jitter: {jitter}m}}"));
        let cron = Cron::try_new(&pattern, zone).unwrap();
        let mut expected = start;
        for (begins, because) in daily.preview(NAME, Some(start), start).take(400) {
            expected = cron.next_after(expected).unwrap();
            prop_assert_eq!(because, Because::Schedule { occurrence: expected });
            prop_assert!(begins >= expected && (begins == expected || begins < later(expected, HOUR / 60 * jitter)));
        }
    }
}
