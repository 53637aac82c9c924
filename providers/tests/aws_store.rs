//! Publishing in Secrets Manager: which version has which label, also when a call is lost in the middle, and what is left to others.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use aws_support::{Stage, reference};
use keywheel_core::rotation::{Fields, Revision, Store};
use keywheel_core::{Error, ErrorKind};
use keywheel_tests::Fault;
use serde_json::{Value, json};

fn fields(value: &str) -> Fields {
    [("password".to_owned(), value.into())].into()
}

/// Returns the labels of a secret, sorted, and which versions have them.
fn labels(stage: &Stage) -> Vec<(String, String)> {
    let secret = stage.moto.secrets("DescribeSecret", &json!({"SecretId": "db"}));
    let versions = secret["VersionIdsToStages"].as_object().unwrap();
    let mut labels: Vec<_> = versions
        .iter()
        .flat_map(|(version, labels)| {
            let labels = labels.as_array().unwrap().iter();
            labels.map(|label| (label.as_str().unwrap().to_owned(), version.clone()))
        })
        .collect();
    labels.sort();
    labels
}

fn current(stage: &Stage) -> String {
    stage.moto.secrets("GetSecretValue", &json!({"SecretId": "db", "VersionStage": "AWSCURRENT"}))["SecretString"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn put(store: &dyn Store, value: &str) -> Result<Revision, Error> {
    let db = reference("aws://db");
    let found = store.look(&db).await?;
    store.write(&db, &fields(value), &found.revision, value).await
}

#[tokio::test]
async fn the_new_version_is_current_the_one_before_is_previous_and_nothing_is_pending() {
    let stage = Stage::new();
    let one = stage.moto.put("db", r#"{"password": "one", "port": 5432}"#);
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    let two = put(store, "two").await.unwrap();
    let label = |label: &str, version: &str| (label.to_owned(), version.to_owned());
    assert_eq!(labels(&stage), [label("AWSCURRENT", two.as_str()), label("AWSPREVIOUS", &one)]);
    let three = put(store, "three").await.unwrap();
    assert_eq!(labels(&stage), [label("AWSCURRENT", three.as_str()), label("AWSPREVIOUS", two.as_str())]);
    assert_eq!(current(&stage), r#"{"password":"three"}"#);
    assert!(store.look(&reference("aws://db")).await.unwrap().written_at.is_some());
}

#[tokio::test]
async fn a_write_whose_calls_fail_is_finished_by_the_next_and_leaves_nobody_in_its_way() {
    let stage = Stage::new();
    stage.moto.put("db", r#"{"password": "one"}"#);
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    let before = store.look(&reference("aws://db")).await.unwrap().revision;
    for operation in ["DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage"] {
        stage.faults.show_to(operation, Fault::Sealed);
        let error = store.write(&reference("aws://db"), &fields("two"), &before, "two").await.unwrap_err();
        assert!(error.is_temporary(), "{operation}: {error}");
        assert_eq!(current(&stage), r#"{"password": "one"}"#, "{operation}");
        stage.faults.heal();
    }
    assert!(labels(&stage).iter().any(|(label, _)| label == "AWSPENDING"), "{:?}", labels(&stage));
    // Another rotation, after that one was given up.
    put(store, "three").await.unwrap();
    assert_eq!(current(&stage), r#"{"password":"three"}"#);
    assert!(labels(&stage).iter().all(|(label, _)| label != "AWSPENDING"), "{:?}", labels(&stage));
    let late = store.write(&reference("aws://db"), &fields("two"), &before, "two").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_no_second_version() {
    let stage = Stage::new();
    let one = stage.moto.put("db", r#"{"password": "one"}"#);
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    let write =
        async || store.write(&reference("aws://db"), &fields("two"), &Revision::new(&one), "two").await;
    let two = write().await.unwrap();
    let seen = labels(&stage);
    assert_eq!(write().await.unwrap(), two);
    assert_eq!(labels(&stage), seen);
}

#[tokio::test]
async fn what_somebody_else_rotates_is_left_alone() {
    let stage = Stage::new();
    stage.moto.put("db", r#"{"password": "one"}"#);
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    let pending = "0123456789abcdef0123456789abcdef";
    let body = json!({
        "SecretId": "db", "ClientRequestToken": pending, "SecretString": "c4n4ry", "VersionStages": ["AWSPENDING"],
    });
    stage.moto.secrets("PutSecretValue", &body);
    let error = put(store, "two").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("is not over") && text.contains(&format!("--remove-from-version-id {pending}")),
        "{text}"
    );
    assert!(!text.contains("c4n4ry") && !error.is_temporary(), "{text}");
    let body = json!({"SecretId": "db", "VersionStage": "AWSPENDING", "RemoveFromVersionId": pending});
    stage.moto.secrets("UpdateSecretVersionStage", &body);
    put(store, "two").await.unwrap();

    let described = |more: Value| {
        let mut body = json!({"ARN": "arn", "Name": "db", "VersionIdsToStages": {}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stage.faults.show_to("DescribeSecret", Fault::Answer { status: 200, body: body.to_string() });
    };
    for (more, why) in [
        (json!({"RotationEnabled": true}), "cancel-rotate-secret"),
        (json!({"OwningService": "rds"}), "belongs to another service"),
        (json!({"DeletedDate": 1_700_000_000}), "restore-secret"),
    ] {
        described(more);
        let text = put(store, "three").await.unwrap_err().to_string();
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[tokio::test]
async fn a_text_stays_one_and_binary_is_refused() {
    let stage = Stage::new();
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    stage.moto.put("db", "plain {text}");
    let found = store.look(&reference("aws://db")).await.unwrap();
    let value: Fields = [("value".to_owned(), "new".into())].into();
    store.write(&reference("aws://db"), &value, &found.revision, "token").await.unwrap();
    assert_eq!(current(&stage), "new");

    stage.moto.put_binary("binary", &[0xff, 0x00]);
    let error = store.look(&reference("aws://binary")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn the_record_is_one_whatever_the_secret_is_called_and_as_well_encrypted() {
    let stage = Stage::new();
    let create = json!({"Name": "db", "SecretString": "{}", "KmsKeyId": "alias/orders"});
    stage.moto.secrets("CreateSecret", &create);
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    let arn = reference(&format!("aws://{}", stage.moto.arn("db")));
    let record = store.record_of(&arn).await.unwrap();
    assert_eq!(record, store.record_of(&reference("aws://db")).await.unwrap());
    assert_eq!(record.path(), "keywheel/rotation/db");
    store.write(&record, &fields("x"), &Revision::new("none"), "token").await.unwrap();
    let described = stage.moto.secrets("DescribeSecret", &json!({"SecretId": record.path()}));
    assert_eq!(described["KmsKeyId"], "alias/orders");

    let missing = reference("aws://arn:aws:secretsmanager:eu-west-1:123456789012:secret:no-such-a1b2c3");
    assert_eq!(store.record_of(&missing).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = store.write(&missing, &fields("x"), &Revision::new("none"), "token").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_refusal_says_what_to_allow_and_wrong_targets_are_refused_before() {
    let stage = Stage::new();
    stage.moto.put("db", "{}");
    let aws = stage.provider("");
    let store = aws.store().unwrap();
    let denied = || Fault::Aws { status: 400, code: "AccessDeniedException".into(), message: "no".into() };
    for operation in ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"] {
        stage.faults.show_to(operation, denied());
        let error = put(store, "two").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains(&format!("secretsmanager:{operation}")), "{error}");
        stage.faults.heal();
    }
    for wrong in [
        "aws://db?stage=AWSPREVIOUS".to_owned(),
        "aws://db?stage=AWSCURRENT".into(),
        "aws://db?version-id=0123456789abcdef0123456789abcdef".into(),
        "aws://keywheel/rotation/db".into(),
        format!("aws://{}", "x".repeat(500)),
    ] {
        let error = store.validate(&reference(&wrong)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{wrong}: {error}");
    }
}
