//! Which secrets and versions a reference reads, and how many calls that takes.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_support::{Log, Stage, expose, reference};
use futures_util::future::join_all;
use keywheel_core::{Error, ErrorKind, Provider, Secret, Version};
use keywheel_tests::Fault;
use serde_json::json;

/// Secrets that are asked for together.
struct Many {
    aws: Arc<dyn Provider>,
    names: Vec<String>,
}

impl Many {
    fn put(stage: &Stage, count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|number| format!("shop/s{number:03}")).collect();
        for name in &names {
            stage.moto.put(name, &json!({"x": name}).to_string());
        }
        Self { aws: stage.provider(""), names }
    }

    async fn read(&self) -> BTreeMap<String, Result<Secret, Error>> {
        let reads = self.names.iter().map(|name| async move {
            (name.clone(), self.aws.read(&reference(&format!("aws://{name}"))).await)
        });
        join_all(reads).await.into_iter().collect()
    }

    async fn poll(&self, known: &BTreeMap<String, Version>) -> Vec<String> {
        let polls = known.iter().map(|(name, known)| async move {
            let polled = self.aws.read_if_changed(&reference(&format!("aws://{name}")), known).await;
            polled.unwrap().map(|secret| expose(&secret, "x"))
        });
        join_all(polls).await.into_iter().flatten().collect()
    }
}

fn versions(read: BTreeMap<String, Result<Secret, Error>>) -> BTreeMap<String, Version> {
    read.into_iter().map(|(name, read)| (name, read.unwrap().version().clone())).collect()
}

#[tokio::test]
async fn names_arns_stages_and_versions_read_what_they_say() {
    let (log, _catching) = Log::catch();
    let stage = Stage::new();
    let first = stage.moto.put("prod/db", r#"{"password": "one"}"#);
    let second = stage.moto.put("prod/db", r#"{"password": "two"}"#);
    let arn = stage.moto.arn("prod/db");
    let partial = arn.rsplit_once('-').unwrap().0;
    let aws = stage.provider("");
    for (path, expected) in [
        ("prod/db", "two"),
        (&arn, "two"),
        (partial, "two"),
        ("prod/db?stage=AWSCURRENT", "two"),
        ("prod/db?stage=AWSPREVIOUS", "one"),
        (&format!("prod/db?version-id={first}"), "one"),
        (&format!("{arn}?version-id={second}"), "two"),
    ] {
        let secret = aws.read(&reference(&format!("aws://{path}"))).await;
        assert_eq!(expose(&secret.unwrap_or_else(|error| panic!("{path}: {error}")), "password"), expected);
    }
    let current = aws.read(&reference("aws://prod/db")).await.unwrap();
    assert_eq!(current.version(), &Version::new(&second));
    let pinned = reference(&format!("aws://prod/db?version-id={first}"));
    let before = stage.faults.count();
    assert!(aws.read_if_changed(&pinned, &Version::new(&first)).await.unwrap().is_none());
    assert_eq!(stage.faults.count(), before, "a version that is named is never asked for again");
    assert_eq!(stage.faults.count_of("BatchGetSecretValue"), 0, "one secret needs no such permission");

    for (path, kind, part) in [
        ("prod/none", ErrorKind::NotFound, "no such secret"),
        ("prod/db?stage=AWSPENDING", ErrorKind::NotFound, "aws://prod/db?stage=AWSPENDING"),
        (
            &format!("{}-abcdef", arn.rsplit_once('-').unwrap().0),
            ErrorKind::NotFound,
            "taken for a whole one",
        ),
    ] {
        let error = aws.read(&reference(&format!("aws://{path}"))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert!(
            error.to_string().contains(part) && error.to_string().contains("region: eu-west-1"),
            "{error}"
        );
    }

    // The ARN of a name that ends like an ARN.
    stage.moto.put("prod/db-abcdef", r#"{"password": "other"}"#);
    let whole = stage.moto.arn("prod/db-abcdef");
    let doubtful = whole.rsplit_once('-').unwrap().0;
    for _ in 0..2 {
        let secret = aws.read(&reference(&format!("aws://{doubtful}"))).await.unwrap();
        assert_eq!(expose(&secret, "password"), "other");
    }
    assert_eq!(log.count("lacks its last six characters"), 1);
}

#[tokio::test]
async fn plain_texts_and_bytes_are_the_field_value_and_a_deleted_secret_says_so() {
    let stage = Stage::new();
    stage.moto.put("plain", "just text\n");
    stage.moto.put("list", r#"["a"]"#);
    stage.moto.put_binary("binary", &[0, 0xff, b'\n']);
    let aws = stage.provider("");
    assert_eq!(expose(&aws.read(&reference("aws://plain")).await.unwrap(), "value"), "just text\n");
    assert_eq!(expose(&aws.read(&reference("aws://list")).await.unwrap(), "value"), r#"["a"]"#);
    let binary = aws.read(&reference("aws://binary")).await.unwrap();
    assert_eq!(binary.value(None).unwrap().expose_secret(), [0, 0xff, b'\n']);

    stage.moto.schedule_deletion("plain");
    let error = aws.read(&reference("aws://plain")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deleted, "{error}");
    assert!(error.to_string().contains("scheduled for deletion"), "{error}");
    stage.moto.secrets("RestoreSecret", &json!({"SecretId": "plain"}));
    assert!(aws.read(&reference("aws://plain")).await.is_ok());
}

#[tokio::test]
async fn secrets_that_are_asked_for_together_cost_a_call_for_twenty() {
    let stage = Stage::new();
    let many = Many::put(&stage, 65);
    let known = versions(many.read().await);
    assert_eq!(stage.faults.count_of("BatchGetSecretValue"), 4);
    assert!(many.poll(&known).await.is_empty());
    assert_eq!(
        (stage.faults.count_of("BatchGetSecretValue"), stage.faults.count_of("GetSecretValue")),
        (8, 0)
    );
    stage.moto.put("shop/s041", r#"{"x": "new"}"#);
    assert_eq!(many.poll(&known).await, ["new"]);
    let groups: Vec<_> = ["aws://shop/s000", "aws://other", "aws://a?stage=AWSCURRENT"]
        .map(|text| many.aws.group(&reference(text)))
        .into();
    assert!(groups[0].is_some() && groups.iter().all(|group| *group == groups[0]), "{groups:?}");
    assert!(many.aws.group(&reference("aws://a?stage=AWSPREVIOUS")).is_none());
}

#[tokio::test]
async fn one_bad_secret_does_not_spoil_the_others() {
    let stage = Stage::new();
    let mut many = Many::put(&stage, 12);
    stage.moto.schedule_deletion("shop/s003");
    many.names.push("shop/none".into());
    let read = many.read().await;
    assert_eq!(stage.faults.count_of("BatchGetSecretValue"), 1);
    for (name, read) in &read {
        match (name.as_str(), read) {
            ("shop/s003", Err(error)) => assert_eq!(error.kind(), ErrorKind::Deleted, "{error}"),
            ("shop/none", Err(error)) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            (name, Ok(secret)) => assert_eq!(expose(secret, "x"), name),
            (name, Err(error)) => panic!("{name}: {error}"),
        }
    }

    // One that AWS does not even take has the whole call refused: then each is asked for by itself.
    let refusal = Fault::Aws { status: 400, code: "ValidationException".into(), message: "c4n4ry".into() };
    stage.faults.show_to("BatchGetSecretValue", refusal);
    let read = many.read().await;
    assert_eq!(read.values().filter(|read| read.is_ok()).count(), 11);
    stage.faults.heal();
    let before = stage.faults.count_of("BatchGetSecretValue");
    many.read().await;
    assert_eq!(stage.faults.count_of("BatchGetSecretValue"), before + 1, "it is tried again");
}

#[tokio::test]
async fn a_policy_without_batches_is_found_out_once() {
    let (log, _catching) = Log::catch();
    let stage = Stage::new();
    let many = Many::put(&stage, 10);
    let denied =
        Fault::Aws { status: 400, code: "AccessDeniedException".into(), message: "not authorized".into() };
    stage.faults.show_to("BatchGetSecretValue", denied);
    let known = versions(many.read().await);
    assert_eq!(stage.faults.count_of("BatchGetSecretValue"), 1);
    assert!(many.poll(&known).await.is_empty());
    assert_eq!(
        (stage.faults.count_of("BatchGetSecretValue"), stage.faults.count_of("GetSecretValue")),
        (1, 20)
    );
    assert_eq!(log.count("secretsmanager:BatchGetSecretValue"), 1);
    assert!(many.aws.group(&reference("aws://shop/s000")).is_none());
}

#[tokio::test]
async fn an_identity_that_may_nothing_is_not_taken_for_one_without_batches() {
    let stage = Stage::new();
    let many = Many::put(&stage, 3);
    stage.faults.show(Fault::Aws { status: 400, code: "AccessDeniedException".into(), message: "no".into() });
    for read in many.read().await.into_values() {
        assert_eq!(read.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    stage.faults.heal();
    let before = stage.faults.count_of("BatchGetSecretValue");
    versions(many.read().await);
    assert_eq!(stage.faults.count_of("BatchGetSecretValue"), before + 1);
}
