//! `keywheel rotate` of a secret that AWS rotates itself. moto runs no rotation functions: the proxy answers that one has begun, and the test does
//! what the function would.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::time::Duration;

use keywheel_tests::{Cloud, Fault, Keywheel, Launch, wait};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn configuration(cloud: &Cloud) -> String {
    format!(
        "providers:\n  aws: {{kind: aws, {}, rotate_within: 20s, {}}}\nrotations:\n  - name: db\n    target: aws://prod/db\n    \
         record: aws://keywheel/rotation/prod/db\n    schedule: {{every: 30d}}\n    strategy: {{aws: {{}}}}\n",
        cloud.settings(),
        cloud.pod_identity()
    )
}

/// Waits until the rotator has asked for a rotation; returns the new version's id.
fn begun(cloud: &Cloud, rotator: &Keywheel) -> String {
    wait::until(20 * SECOND, "the rotation's request", || {
        rotator.process().assert_running();
        let arrived = cloud.faults.arrived();
        let begin = arrived.iter().find(|seen| seen.operation().as_deref() == Some("RotateSecret"))?;
        let body: Value = serde_json::from_slice(&begin.body).unwrap();
        body["ClientRequestToken"].as_str().map(str::to_owned)
    })
}

/// Does what the function does.
fn play(cloud: &Cloud, old: &str, new: &str) {
    let put = json!({
        "SecretId": "prod/db", "ClientRequestToken": new, "SecretString": r#"{"password": "two"}"#, "VersionStages": ["AWSPENDING"],
    });
    cloud.moto.secrets("PutSecretValue", &put);
    let moved = json!({
        "SecretId": "prod/db", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": old, "MoveToVersionId": new,
    });
    cloud.moto.secrets("UpdateSecretVersionStage", &moved);
}

fn status(configuration: &str) -> Value {
    let status = Launch::new("rotate").args(["status", "--json"]).config(configuration).output();
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status[0].clone()
}

fn stage() -> (Cloud, String) {
    let cloud = Cloud::start();
    let old = cloud.moto.put("prod/db", r#"{"password": "one"}"#);
    let answer = Fault::Answer { status: 200, body: r#"{"ARN": "arn", "Name": "prod/db"}"#.into() };
    cloud.faults.show_to("RotateSecret", answer);
    (cloud, old)
}

#[test]
fn the_source_rotates_and_its_new_version_is_waited_for() {
    let (cloud, old) = stage();
    let configuration = configuration(&cloud);
    let rotator = Launch::new("rotate").config(&configuration).arg("--now").start();
    let new = begun(&cloud, &rotator);
    play(&cloud, &old, &new);
    assert!(rotator.process().wait_for_end(20 * SECOND).success(), "{}", rotator.logs());
    assert!(rotator.logs().contains(&format!("rotated, version {new}")), "{}", rotator.logs());
    let status = status(&configuration);
    assert_eq!((&status["phase"], &status["version"]), (&"idle".into(), &new.into()), "{status}");
    assert_eq!(
        cloud.faults.count_of("GetSecretValue"),
        cloud
            .faults
            .arrived()
            .iter()
            .filter(|seen| {
                seen.operation().as_deref() == Some("GetSecretValue")
                    && String::from_utf8_lossy(&seen.body).contains("keywheel/rotation/")
            })
            .count(),
        "the value is nobody's business"
    );
}

#[test]
fn an_emergency_says_that_the_version_before_may_still_work() {
    let (cloud, old) = stage();
    let emergency = ["db", "--now", "--revoke-old"];
    let rotator = Launch::new("rotate").config(&configuration(&cloud)).args(emergency).start();
    play(&cloud, &old, &begun(&cloud, &rotator));
    assert!(rotator.process().wait_for_end(20 * SECOND).success(), "{}", rotator.logs());
    assert!(rotator.logs().contains("AWSPREVIOUS"), "{}", rotator.logs());
}

#[test]
fn a_killed_rotator_is_followed_by_one_that_asks_for_no_second_version() {
    let (cloud, old) = stage();
    let configuration = configuration(&cloud);
    let rotator = Launch::new("rotate").config(&configuration).arg("--now").start();
    let new = begun(&cloud, &rotator);
    rotator.process().kill();
    play(&cloud, &old, &new);
    let next = Launch::new("rotate").config(&configuration).output();
    assert_eq!(next.code, Some(0), "{}", next.stderr);
    let status = status(&configuration);
    assert_eq!((&status["phase"], &status["version"]), (&"idle".into(), &new.into()), "{status}");
    assert_eq!(cloud.faults.count_of("RotateSecret"), 1);
}
