use keywheel_core::rotation::{Attempt, Course, Event, Revision, Rules};
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T10:00:00.5Z")
}

fn schedule() -> RotationSchedule {
    serde_json::from_value(json!({
        "apiVersion": "keywheel.dev/v1alpha1", "kind": "RotationSchedule",
        "metadata": {"name": "orders", "namespace": "orders", "generation": 3, "creationTimestamp": "2026-11-22T09:00:00Z"},
        "spec": {
            "target": "vault://secret/orders/db", "schedule": {"cron": "0 3 * * 0", "timeZone": "Europe/Berlin"}, "strategy": {"random": {}},
            "provider": {"address": "https://v", "auth": {"role": "r"}}, "serviceAccountName": "a",
        },
    }))
    .unwrap()
}

const RULES: Rules = Rules { overlap: std::time::Duration::from_secs(600), is_gapless: true };

/// Returns a course that these events have happened to.
fn course(events: impl IntoIterator<Item = Event>) -> Course {
    let mut course = Course::default();
    for event in events {
        course.note(event, RULES, at("2026-11-22T09:59:00Z"));
    }
    course
}

fn created() -> Event {
    let attempt = Attempt { token: "t".into(), begun_at: now(), base: Revision::new(6), is_emergency: false };
    Event::Created(attempt)
}

fn published() -> [Event; 4] {
    [created(), Event::Set, Event::Tested, Event::Published(Revision::new(7))]
}

fn failure() -> Error {
    Error::new(ErrorKind::PermissionDenied, "rotate", "the server refuses")
}

fn looked(course: Course, error: Option<Error>) -> Outcome {
    let replaced_at = course.last().map(|last| last.at);
    let due_at = Some(at("2026-11-29T02:00:00.25Z"));
    let standing = Standing { course, replaced_at, due_at, held_by: None, acknowledged: None };
    Outcome::Looked { standing: Some(Box::new(standing)), error }
}

/// Returns what is told after each outcome, one after another: whether it is ready, why, and the reasons of Events.
fn story(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<(String, String, Vec<String>)> {
    let mut before = RotationScheduleStatus::default();
    let told = outcomes.into_iter().map(|outcome| {
        let after = status(&schedule(), &before, &outcome, now());
        let notes = notes(&schedule(), &before, &after);
        before = after;
        let condition = ready(&before).unwrap();
        (
            condition.status.clone(),
            condition.reason.clone(),
            notes.into_iter().map(|note| note.reason).collect(),
        )
    });
    told.collect()
}

fn told(status: &str, reason: &str, notes: &[&str]) -> (String, String, Vec<String>) {
    (status.into(), reason.into(), notes.iter().map(|note| (*note).to_owned()).collect())
}

#[test]
fn a_rotation_is_told_once_and_in_whole_seconds() {
    let retired = published().into_iter().chain([Event::Retired]);
    let outcomes =
        [looked(course([]), None), looked(course(published()), None), looked(course(retired.clone()), None)];
    let expected = [
        told("True", "Scheduled", &[]),
        told("True", "Overlapping", &["Rotated"]),
        told("True", "Scheduled", &[]),
    ];
    assert_eq!(story(outcomes), expected);
    let status =
        status(&schedule(), &RotationScheduleStatus::default(), &looked(course(retired), None), now());
    let shown: Value = serde_json::to_value(status).unwrap();
    assert_eq!(shown["lastRotation"], "2026-11-22T09:59:00Z");
    assert_eq!(shown["nextRotation"], "2026-11-29T02:00:00Z");
    assert_eq!((&shown["version"], &shown["phase"]), (&json!("7"), &json!("idle")));
    assert_eq!(
        (&shown["schedule"], &shown["observedGeneration"]),
        (&json!("0 3 * * 0 Europe/Berlin"), &json!(3))
    );
}

#[test]
fn what_was_replaced_before_the_schedule_was_made_is_no_rotation_of_it() {
    let mut late = schedule();
    late.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-22T09:59:30Z")).unwrap();
    let before = RotationScheduleStatus::default();
    let after = status(&late, &before, &looked(course(published()), None), now());
    assert_eq!(notes(&late, &before, &after), []);
    // A leader that died before it could tell of one is made up for.
    assert_eq!(notes(&schedule(), &before, &after).len(), 1);
}

#[test]
fn a_failure_is_told_once_and_so_is_its_end() {
    let failed = || looked(course([Event::Failed(failure())]), Some(failure()));
    let waits = looked(course([Event::Failed(failure())]), None);
    let outcomes = [failed(), failed(), waits, looked(course([]), None)];
    let expected = [
        told("False", "Denied", &["Denied"]),
        told("False", "Denied", &[]),
        told("False", "Denied", &[]),
        told("True", "Scheduled", &[]),
    ];
    assert_eq!(story(outcomes), expected);
}

#[test]
fn what_is_taken_back_is_told_as_that() {
    let undone = course([created(), Event::Set, Event::Failed(failure()), Event::Undone]);
    assert_eq!(story([looked(undone, Some(failure()))]), [told("False", "RolledBack", &["RolledBack"])]);
    // Somebody asked for the value before.
    let mut back = course(published());
    back.roll_back(RULES).unwrap();
    let expected = [told("True", "Overlapping", &["Rotated"]), told("True", "RolledBack", &["RolledBack"])];
    assert_eq!(story([looked(course(published()), None), looked(back, None)]), expected);
}

#[test]
fn a_schedule_that_cannot_be_kept_says_why_and_promises_nothing() {
    let before =
        status(&schedule(), &RotationScheduleStatus::default(), &looked(course(published()), None), now());
    let invalid = Outcome::Invalid("spec.schedule.cron: is no time".into());
    let after = status(&schedule(), &before, &invalid, now());
    let condition = ready(&after).unwrap();
    assert_eq!(
        (condition.reason.as_str(), condition.message.as_str()),
        ("InvalidSpec", "spec.schedule.cron: is no time")
    );
    assert_eq!((after.next_rotation, &after.version), (None, &before.version));
    let long = Outcome::Invalid("ä".repeat(5000));
    assert_eq!(
        ready(&status(&schedule(), &before, &long, now())).unwrap().message.chars().count(),
        LONGEST + 1
    );
}

#[test]
fn a_schedule_whose_target_is_another_s_says_whose_once() {
    let taken = || Outcome::Taken("orders-db".into());
    let expected = [
        told("True", "Scheduled", &[]),
        told("False", "TargetTaken", &["TargetTaken"]),
        told("False", "TargetTaken", &[]),
        told("True", "Scheduled", &[]),
    ];
    let good = || looked(course([]), None);
    assert_eq!(story([good(), taken(), taken(), good()]), expected);
    let after = status(&schedule(), &RotationScheduleStatus::default(), &taken(), now());
    assert!(ready(&after).unwrap().message.starts_with("orders-db, "));
    assert_eq!(after.next_rotation, None);
}

#[test]
fn the_time_of_a_transition_is_that_of_the_change() {
    let good = || looked(course([]), None);
    let first = status(&schedule(), &RotationScheduleStatus::default(), &good(), now());
    let later = at("2026-11-22T11:00:00Z");
    let transition = |status: &RotationScheduleStatus| ready(status).unwrap().last_transition_time;
    assert_eq!(transition(&status(&schedule(), &first, &good(), later)), transition(&first));
    let bad = status(&schedule(), &first, &Outcome::Invalid("no".into()), later);
    assert_eq!(transition(&bad), later);
}
