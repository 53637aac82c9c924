//! Who the provider is: logins by a web identity's token and by a pod's agent, their renewal, and what goes wrong with them.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use std::time::Duration;

use aws_support::{Log, Stage, context_with, maintained, reference, until};
use jiff::Timestamp;
use keywheel_core::ErrorKind;
use keywheel_core::clock::later;
use keywheel_core::layer::BudgetLimits;
use keywheel_tests::Fault;
use keywheel_tests::faults::Arrived;
use keywheel_tests::sts::{LOGIN, granted, refused};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const ROLE: &str = "arn:aws:iam::123456789012:role/orders";

fn soon(seconds: u64) -> String {
    later(Timestamp::now(), Duration::from_secs(seconds)).to_string()
}

fn web_identity(stage: &Stage) -> String {
    format!(
        "  auth: {{method: web_identity, role_arn: {ROLE}, session_name: pod-1, token_file: {}}}\n",
        stage.token_file().display()
    )
}

/// Returns whose credentials a request was signed with.
fn signed_by(request: &Arrived) -> String {
    let header = &request.headers["authorization"];
    let (_, credential) = header.split_once("Credential=").unwrap();
    credential.split('/').next().unwrap().to_owned()
}

fn signers(stage: &Stage) -> Vec<String> {
    let mut signers: Vec<String> = stage
        .faults
        .arrived()
        .iter()
        .filter(|request| request.operation().as_deref() == Some("GetSecretValue"))
        .map(signed_by)
        .collect();
    signers.dedup();
    signers
}

#[tokio::test]
async fn a_web_identity_logs_in_with_the_token_that_is_in_the_file_now() {
    let stage = Stage::new();
    stage.moto.put("a", "x");
    let aws = stage.provider(&web_identity(&stage));
    aws.read(&reference("aws://a")).await.unwrap();
    let login = stage.faults.arrived().remove(0);
    let body = String::from_utf8(login.body.clone()).unwrap();
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Forders",
        "RoleSessionName=pod-1",
        "WebIdentityToken=pod-token-one",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!login.headers.contains_key("authorization"), "the token is the proof");
    aws.read(&reference("aws://a")).await.unwrap();
    assert_eq!(stage.faults.count_of(LOGIN), 1, "credentials are used as long as they are good");
}

#[tokio::test]
async fn credentials_are_renewed_before_they_end_and_an_outage_of_sts_interrupts_nothing() {
    let (log, _catching) = Log::catch();
    let stage = Stage::new();
    stage.moto.put("a", "x");
    let context = context_with(BudgetLimits::default(), Duration::from_secs(1));
    let aws = stage.provider_with(&web_identity(&stage), context);
    let _maintained = maintained(&aws);
    stage.faults.show_to(LOGIN, granted("ONE", 3 * SECOND));
    let read = async || aws.read(&reference("aws://a")).await;
    read().await.unwrap();
    stage.project_token("pod-token-two");
    stage.faults.show_to(LOGIN, granted("TWO", 12 * SECOND));
    until("a renewal", async || {
        read().await.unwrap();
        (signers(&stage) == ["ONE", "TWO"]).then_some(())
    })
    .await;
    let logins: Vec<Arrived> = stage
        .faults
        .arrived()
        .into_iter()
        .filter(|seen| seen.operation().as_deref() == Some(LOGIN))
        .collect();
    let token = |login: &Arrived| {
        String::from_utf8(login.body.clone()).unwrap().contains("WebIdentityToken=pod-token-two")
    };
    assert_eq!(logins.iter().map(token).collect::<Vec<_>>(), [false, true], "the file is read again");

    // STS hangs when the renewal is due: what is there goes on, nobody waits, and STS is asked less and less often.
    stage.faults.show_to(LOGIN, Fault::Hang);
    let failed_before = stage.faults.count_of(LOGIN);
    until("failed renewals", async || {
        let begun = Instant::now();
        read().await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
        (stage.faults.count_of(LOGIN) >= failed_before + 2).then_some(())
    })
    .await;
    stage.faults.show_to(LOGIN, granted("THREE", 3600 * SECOND));
    until("the next renewal", async || {
        read().await.ok()?;
        signers(&stage).contains(&"THREE".to_owned()).then_some(())
    })
    .await;
    assert!(stage.faults.count_of(LOGIN) <= 8, "{}", stage.faults.count_of(LOGIN));
    assert!(log.count("those from before are good for a while") >= 1);
    assert_eq!(log.count("can be had again"), 1);
}

#[tokio::test]
async fn credentials_that_ended_come_back_without_a_restart() {
    let stage = Stage::new();
    stage.moto.put("a", "x");
    let aws = stage.provider(&web_identity(&stage));
    stage.faults.show_to(LOGIN, granted("ONE", 3 * SECOND));
    aws.read(&reference("aws://a")).await.unwrap();
    stage.faults.show_to(LOGIN, refused(400, "ExpiredTokenException"));
    let error =
        until("the end of the credentials", async || aws.read(&reference("aws://a")).await.err()).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unauthenticated, true), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("log in") && text.contains(ROLE) && text.contains("have expired"), "{text}");
    assert!(!text.contains("c4n4ry") && !text.contains("sts-secret-key"), "{text}");
    let failed = stage.faults.count_of(LOGIN);
    for _ in 0..20 {
        assert!(aws.read(&reference("aws://a")).await.is_err());
    }
    assert!(stage.faults.count_of(LOGIN) <= failed + 1, "a failed login stands for a moment");
    stage.faults.heal();
    until("a login", async || aws.read(&reference("aws://a")).await.ok()).await;
}

#[tokio::test]
async fn refused_logins_say_why() {
    let stage = Stage::new();
    for (fault, kind, part) in [
        (refused(403, "AccessDenied"), ErrorKind::PermissionDenied, "trust policy"),
        (
            refused(400, "InvalidIdentityToken"),
            ErrorKind::Unauthenticated,
            "is not one that the account trusts",
        ),
        (refused(400, "IDPCommunicationError"), ErrorKind::Unavailable, "identity provider"),
        (Fault::Sealed, ErrorKind::Unavailable, "failed"),
    ] {
        let aws = stage.provider(&web_identity(&stage));
        stage.faults.show_to(LOGIN, fault);
        let error = aws.read(&reference("aws://a")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains(ROLE), "{error}");
    }
    let aws = stage.provider(
        "  auth: {method: web_identity, role_arn: \"arn:aws:iam::1:role/x\", token_file: /nowhere}\n",
    );
    let error = aws.read(&reference("aws://a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unauthenticated, true), "{error}");
    assert!(error.to_string().contains("/nowhere"), "{error}");
}

#[tokio::test]
async fn a_pods_agent_is_asked_again_with_the_token_that_is_there_then() {
    let stage = Stage::new();
    stage.moto.put("a", "x");
    stage.agent.change("pod-token-one", &soon(3));
    let aws = stage.provider("");
    let _maintained = maintained(&aws);
    aws.read(&reference("aws://a")).await.unwrap();
    aws.read(&reference("aws://a")).await.unwrap();
    assert_eq!(stage.agent.given(), 1);
    stage.project_token("pod-token-two\n");
    stage.agent.change("pod-token-two", "2099-01-01T00:00:00Z");
    until("a renewal", async || {
        aws.read(&reference("aws://a")).await.unwrap();
        (signers(&stage) == ["POD1", "POD2"]).then_some(())
    })
    .await;
    assert!(
        stage
            .faults
            .arrived()
            .iter()
            .all(|request| request.headers["x-amz-security-token"] == "pod-session-token")
    );
}

#[tokio::test]
async fn an_agent_that_refuses_or_is_not_there_is_named() {
    let stage = Stage::new();
    stage.project_token("another-token");
    let error = stage.provider("").read(&reference("aws://a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("pod identity association"), "{error}");
    let port = keywheel_tests::ports::free();
    let auth = format!("  auth: {{method: pod_identity, endpoint: \"http://127.0.0.1:{port}/\"}}\n");
    let error = stage.provider(&auth).read(&reference("aws://a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("agent on this node"), "{error}");
}

#[tokio::test]
async fn credentials_that_aws_does_not_take_any_more_are_replaced_once() {
    let stage = Stage::new();
    stage.moto.put("a", "x");
    let aws = stage.provider("");
    aws.read(&reference("aws://a")).await.unwrap();
    let expired = || Fault::Aws { status: 400, code: "ExpiredTokenException".into(), message: String::new() };
    // As soon as they are not brand-new, others are asked for, and the read is none the worse.
    until("a read in spite of a refusal", async || {
        stage.faults.show_times(1, expired());
        aws.read(&reference("aws://a")).await.ok()
    })
    .await;
    assert_eq!(stage.agent.given(), 2);
    // But not for ever.
    stage.faults.show(expired());
    let before = stage.faults.count();
    let error = aws.read(&reference("aws://a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(stage.faults.count() <= before + 2);
}
