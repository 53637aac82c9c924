//! Rotations that Secrets Manager makes. moto runs no function: the proxy answers that it has begun, and the test plays it.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_support::{Stage, expose, reference, until};
use keywheel_core::ErrorKind;
use keywheel_tests::Fault;
use serde_json::{Value, json};

const TOKEN: &str = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
const BEGUN: &str = r#"{"ARN": "arn", "Name": "db"}"#;

/// Makes the version that a rotation is at.
fn pending(stage: &Stage, token: &str, value: &str) {
    let body = json!({
        "SecretId": "db", "ClientRequestToken": token, "SecretString": value, "VersionStages": ["AWSPENDING"],
    });
    stage.moto.secrets("PutSecretValue", &body);
}

/// Moves the label, as a rotation's last step does.
fn finish(stage: &Stage, old: &str, new: &str) {
    let body = json!({
        "SecretId": "db", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": old, "MoveToVersionId": new,
    });
    stage.moto.secrets("UpdateSecretVersionStage", &body);
}

/// Returns a name for another rotation.
fn another() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{:032}", COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn token_of(stage: &Stage) -> String {
    until("the rotation's request", async || {
        let arrived = stage.faults.arrived();
        let begin = arrived.iter().find(|seen| seen.operation().as_deref() == Some("RotateSecret"))?;
        let body: Value = serde_json::from_slice(&begin.body).unwrap();
        body["ClientRequestToken"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_rotation_is_over_when_the_new_version_is_current() {
    let stage = Stage::new();
    let old = stage.moto.put("db", r#"{"password": "one"}"#);
    stage.faults.show_to("RotateSecret", Fault::Answer { status: 200, body: BEGUN.into() });
    let aws = stage.provider("");
    let rotating = {
        let aws = aws.clone();
        tokio::spawn(async move { aws.rotate(&reference("aws://db"), TOKEN).await })
    };
    let token = token_of(&stage).await;
    pending(&stage, &token, r#"{"password": "two"}"#);
    let seen = stage.faults.count_of("DescribeSecret");
    until("looks at the pending version", async || {
        (stage.faults.count_of("DescribeSecret") >= seen + 2).then_some(())
    })
    .await;
    assert!(!rotating.is_finished());
    assert_eq!(expose(&aws.read(&reference("aws://db")).await.unwrap(), "password"), "one");
    finish(&stage, &old, &token);
    assert_eq!(rotating.await.unwrap().unwrap().as_str(), token);
    // Without a version, moto answers with the one that was put last as current.
    let named = aws.read(&reference(&format!("aws://db?version-id={token}"))).await.unwrap();
    assert_eq!(expose(&named, "password"), "two");
}

#[tokio::test]
async fn one_that_does_not_end_or_cannot_begin_says_what_to_do() {
    let stage = Stage::new();
    stage.moto.put("db", r#"{"password": "one"}"#);
    let aws = stage.provider("  rotate_within: 1s\n");
    let rotate = async || aws.rotate(&reference("aws://db"), &another()).await.unwrap_err();
    stage.faults.show_to("RotateSecret", Fault::Answer { status: 200, body: BEGUN.into() });
    let (error, token) = tokio::join!(rotate(), async {
        let token = token_of(&stage).await;
        pending(&stage, &token, "c4n4ry");
        token
    });
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Timeout, false), "{error}");
    let text = error.to_string();
    for part in [
        "still AWSPENDING",
        "old one stays current",
        &format!("--remove-from-version-id {token}"),
        "aws://db",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let refused =
        Fault::Aws { status: 400, code: "InvalidRequestException".into(), message: "in progress".into() };
    stage.faults.show_to("RotateSecret", refused);
    let text = rotate().await.to_string();
    assert!(text.contains("the last rotation is not over") && text.contains(&token), "{text}");

    let body = json!({"SecretId": "db", "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    stage.moto.secrets("UpdateSecretVersionStage", &body);
    let error = rotate().await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("no rotation function"), "{error}");

    let error = aws.rotate(&reference("aws://db?stage=AWSPREVIOUS"), TOKEN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
