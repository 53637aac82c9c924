//! The controller, in a real cluster: its schedules rotate a real database's accounts, with the rights that `deploy/` gives it and no others.

mod rights;
mod support;

use std::ops::RangeInclusive;
use std::time::Duration;

use keywheel_tests::wait::until_async as until;
use keywheel_tests::{Fault, Signal, wait};
use serde_json::{Value, json};

use self::support::Replica;
pub(crate) use self::support::Stage;
use crate::cluster_support::logins;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_schedule_rotates_on_time_and_says_so() {
    let stage = Stage::set("on-time").await;
    stage.opt_in().await;
    let replica = stage.start("a").await;
    let probe = stage.rotations.probe();
    let first = stage.rotations.version();
    stage.schedule("orders", json!({"every": "4s"})).await.unwrap();
    stage.until_version(first + 3).await;
    stage.change("orders", json!({"schedule": {"paused": true}})).await;
    let status = stage.until_reason("orders", "Paused").await;
    let version = stage.rotations.version();
    assert_eq!(status["version"], version.to_string());
    assert_eq!(status["schedule"], "every 4s (paused)");
    assert_eq!((&status["phase"], &status["nextRotation"]), (&json!("idle"), &Value::Null));
    assert_eq!(status["conditions"][0]["status"], "True");
    let made = made_at(&stage, first..=version);
    for pair in made.windows(2) {
        let span = pair[1] - pair[0];
        assert!((4.0..8.0).contains(&span), "a rotation every four seconds, and not {span}: {made:?}");
    }
    // Whoever rotated was somebody between two looks alone.
    until("the logins to be given back", async || (logins(&stage.rotations.bao) == 0).then_some(())).await;
    let metrics = replica.probe("/metrics").unwrap();
    let labels = format!("rotation=\"{}/orders\",outcome=\"published\"", stage.namespace);
    let line = format!("keywheel_rotations_total{{{labels}}} {}", version - first);
    assert!(metrics.contains("keywheel_controller_leader 1") && metrics.contains(&line), "{metrics}");
    let events = stage.events("orders").await;
    let rotated: Vec<_> =
        events.iter().filter(|(kind, reason, _)| kind == "Normal" && reason == "Rotated").collect();
    assert_eq!(rotated.len() as u64, version - first, "{events:?}");
    assert_eq!(events.len(), rotated.len(), "{events:?}");
    // A schedule that is gone ends nothing, and is nowhere any more.
    stage.delete("orders").await;
    until("the metrics to forget it", async || {
        (!replica.probe("/metrics")?.contains("rotation=")).then_some(())
    })
    .await;
    replica.stop();
    let seen = probe.finish();
    assert!(seen.failed.is_empty() && seen.users.len() == 2, "{seen:?}");
    let (user, password) = stage.rotations.published();
    assert!(stage.rotations.database.login(&user, &password, SECOND).is_ok());
    let told = format!("{status} {events:?} {metrics} {}", replica.log());
    assert!(!told.contains(&password) && !told.contains("first") && !told.contains("eyJ"), "{told}");
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn what_cannot_be_kept_says_why() {
    let stage = Stage::set("refused").await;
    let replica = stage.start("a").await;
    for (timing, field) in [
        (json!({"cron": "sometimes"}), "spec.schedule.cron"),
        (json!({"every": "a week"}), "spec.schedule.every"),
        (json!({"cron": "0 3 * * 0", "every": "3d"}), "spec.schedule"),
    ] {
        let refused = stage.schedule("refused", timing).await.unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
    // No pattern finds this one; nobody else's is held up by it.
    stage.schedule("never", json!({"cron": "61 3 * * 0", "timeZone": "Europe/Nowhere"})).await.unwrap();
    let status = stage.until_reason("never", "InvalidSpec").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert_eq!(status["conditions"][0]["status"], "False");
    for place in ["spec.schedule.cron: ", "spec.schedule.timeZone: "] {
        assert!(message.contains(place), "{message}");
    }
    let told = async || (stage.events("never").await.len() == 1).then_some(());
    until("an Event to be made", told).await;
    stage.change("never", json!({"target": "vault://secret/other"})).await;
    until("the other generation to be seen", async || {
        (stage.status("never").await["observedGeneration"] == 2).then_some(())
    })
    .await;
    assert!(told().await.is_some(), "it is told once");
    // The namespace has not opted in: nothing is done as its account.
    let before = stage.rotations.version();
    stage.schedule("orders", json!({"every": "2s"})).await.unwrap();
    let status = stage.until_reason("orders", "LoginRefused").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("serviceaccounts/token") && message.contains("rotate-orders"), "{message}");
    assert_eq!((stage.rotations.version(), stage.faults.count()), (before, 0), "nobody was asked");
    stage.opt_in().await;
    stage.until_version(before + 1).await;
    replica.stop();
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn one_of_two_schedules_has_the_target() {
    let stage = Stage::set("twice").await;
    stage.opt_in().await;
    let replica = stage.start("a").await;
    let before = stage.rotations.version();
    stage.schedule("orders", json!({"every": "1h"})).await.unwrap();
    stage.schedule("other", json!({"every": "1s"})).await.unwrap();
    let status = stage.until_reason("other", "TargetTaken").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("orders, which is older"), "{message}");
    assert_eq!(
        (&status["conditions"][0]["status"], &status["nextRotation"]),
        (&json!("False"), &Value::Null)
    );
    stage.until_reason("orders", "Scheduled").await;
    let told = async || stage.events("other").await.iter().any(|(_, reason, _)| reason == "TargetTaken");
    until("an Event", async || told().await.then_some(())).await;
    assert_eq!(stage.rotations.version(), before);
    stage.delete("orders").await;
    // Which is noticed in half a minute by itself.
    stage.change("other", json!({"overlap": "2s"})).await;
    stage.until_version(before + 1).await;
    replica.stop();
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_status_that_cannot_be_written_is_written_later_and_nothing_else_is_done_for_it() {
    let stage = Stage::set("untold").await;
    stage.opt_in().await;
    let rules = stage.rules().await;
    let lesser = rules.iter().filter(|rule| rule["resources"] != json!(["rotationschedules/status"]));
    stage.allow(lesser.cloned().collect()).await;
    let replica = stage.start("a").await;
    stage.schedule("orders", json!({"every": "1h"})).await.unwrap();
    let tried = async |times: usize| {
        until("the status to be tried", async || {
            (replica.log().matches("its status was not written").count() >= times).then_some(())
        })
        .await;
        stage.faults.count()
    };
    let asked = tried(1).await;
    assert!(asked > 0, "the schedule was looked at");
    assert_eq!(tried(2).await, asked, "the provider is not asked again");
    stage.allow(rules).await;
    stage.until_reason("orders", "Scheduled").await;
    assert_eq!(stage.faults.count(), asked);
    replica.stop();
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_leader_that_is_killed_leaves_a_rotation_that_is_made_once() {
    let stage = Stage::set("killed").await;
    stage.opt_in().await;
    let mut replicas = vec![stage.start("a").await, stage.start("b").await];
    let probe = stage.rotations.probe();
    let first = stage.rotations.version();
    stage.schedule("orders", json!({"every": "3s"})).await.unwrap();
    stage.until_version(first + 1).await;
    for (turn, requests) in [7, 14, 21].into_iter().enumerate() {
        let before = (stage.faults.count(), stage.rotations.version());
        stage.faults.show_after(requests, "/v1/", Fault::Hang);
        until("the leader to wait in the middle", async || {
            (stage.faults.count() > before.0 + requests).then_some(())
        })
        .await;
        let name = stage.leader(&replicas).await.name.clone();
        let place = replicas.iter().position(|replica| replica.name == name).unwrap();
        replicas.remove(place).kill();
        stage.faults.heal();
        replicas.push(stage.start(&format!("c{turn}")).await);
        assert_ne!(stage.leader(&replicas).await.name, name);
        stage.until_version(before.1 + 1).await;
    }
    // One that stands still is not waited for, and does not go on as if nothing had happened.
    let name = stage.leader(&replicas).await.name.clone();
    let place = replicas.iter().position(|replica| replica.name == name).unwrap();
    let still = replicas.remove(place);
    still.signal(Signal::STOP);
    let next = stage.leader(&replicas).await.name.clone();
    still.signal(Signal::CONT);
    until("it to see that it does not lead", async || {
        still.probe("/metrics").filter(|metrics| metrics.contains("keywheel_controller_leader 0"))
    })
    .await;
    replicas.push(still);
    assert_eq!(stage.leader(&replicas).await.name, next);
    // It may have stood still in the middle of a step, which is its own for up to a minute.
    let before = stage.rotations.version();
    wait::until(100 * SECOND, "a rotation by the other", || {
        (stage.rotations.version() > before).then_some(())
    });
    // One that is told to stop gives the lease back, and is not waited for.
    let begun = keywheel_tests::wait::monotonic();
    let name = stage.leader(&replicas).await.name.clone();
    let place = replicas.iter().position(|replica| replica.name == name).unwrap();
    replicas.remove(place).stop();
    stage.leader(&replicas).await;
    assert!(keywheel_tests::wait::monotonic() - begun < 15 * SECOND, "the lease was waited for");
    let before = stage.rotations.version();
    stage.until_version(before + 1).await;
    stage.change("orders", json!({"schedule": {"paused": true}})).await;
    stage.until_reason("orders", "Paused").await;
    let last = stage.rotations.version();
    replicas.iter().for_each(Replica::stop);
    let seen = probe.finish();
    assert_eq!(seen.failed, Vec::<String>::new(), "what is published logs in all along");
    assert_made_once(&stage, first..=last).await;
    stage.end().await;
}

/// Asserts that each version is one rotation: the other user's, with a password of its own, and no sooner than the schedule of three seconds says.
pub(crate) async fn assert_made_once(stage: &Stage, versions: RangeInclusive<u64>) {
    let made = made_at(stage, versions.clone());
    assert!(made.windows(2).all(|pair| pair[1] - pair[0] >= 3.0), "{made:?}");
    let published: Vec<_> = versions.clone().map(|version| account(stage, version)).collect();
    assert!(published.windows(2).all(|pair| pair[0].0 != pair[1].0), "{published:?}");
    let passwords: std::collections::BTreeSet<_> = published.iter().map(|(_, password)| password).collect();
    assert_eq!(passwords.len(), published.len());
    assert_eq!(stage.rotations.open_accounts().len(), 1, "nothing is left behind");
    let rotated =
        stage.events("orders").await.into_iter().filter(|(_, reason, _)| reason == "Rotated").count() as u64;
    let most = versions.end() - versions.start();
    assert!(rotated <= most, "no rotation is told twice: {rotated} of {most}");
}

/// Returns when versions were published, in seconds.
fn made_at(stage: &Stage, versions: RangeInclusive<u64>) -> Vec<f64> {
    let metadata = stage.rotations.bao.read("secret/metadata/orders/db").unwrap();
    let at = |version: u64| {
        let text = metadata["data"]["versions"][version.to_string()]["created_time"].as_str().unwrap();
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond() as f64 / 1000.0
    };
    versions.map(at).collect()
}

/// Returns user and password of a version.
fn account(stage: &Stage, version: u64) -> (String, String) {
    let read = stage.rotations.bao.read(&format!("secret/data/orders/db?version={version}")).unwrap();
    let text = |key: &str| read["data"]["data"][key].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}
