//! Cron patterns against a second implementation of them: `oracle.tsv`, which `oracle.py` writes and says what it leaves out.
#![allow(clippy::unwrap_used, reason = "it is a test")]

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use keywheel_core::schedule::Cron;

const ORACLE: &str = include_str!("oracle.tsv");

#[test]
fn occurrences_are_those_of_another_implementation() {
    let mut wrong = Vec::new();
    let mut patterns = BTreeSet::new();
    for row in ORACLE.lines() {
        let [pattern, zone, start, expected] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let cron = Cron::try_with_seconds(pattern, TimeZone::get(zone).unwrap()).unwrap();
        let expected: Vec<Timestamp> = expected.split(' ').map(|at| at.parse().unwrap()).collect();
        let first = cron.next_after(start.parse().unwrap());
        let found: Vec<Timestamp> =
            std::iter::successors(first, |at| cron.next_after(*at)).take(expected.len()).collect();
        if found != expected {
            wrong.push(format!("{row}\n  found {found:?}"));
        }
        patterns.insert(pattern);
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(patterns.len() >= 35 && ORACLE.lines().count() >= 500, "the oracle has lost rows");
}

#[test]
fn one_time_a_day_is_told_from_several_where_clocks_are_set() {
    let after = |pattern: &str, start: &str, count: usize| {
        let cron = Cron::try_new(pattern, "Europe/Berlin").unwrap();
        let first = cron.next_after(start.parse().unwrap());
        std::iter::successors(first, |at| cron.next_after(*at))
            .take(count)
            .map(|at| at.to_string())
            .collect::<Vec<_>>()
    };
    let (ahead, back) = ("2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z");
    assert_eq!(after("30 2 * * *", ahead, 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(after("30 2 * * *", back, 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    assert_eq!(after("30 2,12 * * *", ahead, 2), ["2026-03-29T10:30:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(after("30 2,12 * * *", back, 2), ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
}
