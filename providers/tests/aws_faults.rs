//! What AWS answers when it does not answer what it was asked for, in front of moto.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use std::time::Duration;

use aws_support::{Log, Stage, configured_with, context, context_with, reference};
use futures_util::future::join_all;
use keywheel_core::ErrorKind;
use keywheel_core::layer::BudgetLimits;
use keywheel_tests::Fault;
use tokio::time::Instant;

const CANARY: &str = "c4n4ry-of-the-faults";

fn refusal(status: u16, code: &str, message: &str) -> Fault {
    Fault::Aws { status, code: code.into(), message: format!("{message} {CANARY}") }
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_nothing() {
    let (log, _catching) = Log::catch();
    let stage = Stage::new();
    stage.moto.put("a", &format!(r#"{{"x": "{CANARY}"}}"#));
    let aws = stage.provider("");
    aws.read(&reference("aws://a")).await.unwrap();
    let kms = "Access to KMS is not allowed";
    for (fault, kind, temporary, part) in [
        (refusal(400, "ResourceNotFoundException", ""), ErrorKind::NotFound, false, "no such secret"),
        (
            refusal(400, "InvalidRequestException", "marked for deletion"),
            ErrorKind::Deleted,
            false,
            "restore-secret",
        ),
        (refusal(400, "AccessDeniedException", ""), ErrorKind::PermissionDenied, false, "policy"),
        (refusal(400, "AccessDeniedException", kms), ErrorKind::PermissionDenied, false, "kms:Decrypt"),
        (refusal(400, "DecryptionFailure", ""), ErrorKind::PermissionDenied, false, "kms:Decrypt"),
        (refusal(400, "ExpiredTokenException", ""), ErrorKind::Unauthenticated, true, "have expired"),
        (refusal(400, "UnrecognizedClientException", ""), ErrorKind::Unauthenticated, false, "does not know"),
        (refusal(500, "InternalServiceError", ""), ErrorKind::Unavailable, true, "failed"),
        (
            Fault::Answer { status: 503, body: format!("<html>{CANARY}") },
            ErrorKind::Unavailable,
            true,
            "failed",
        ),
        (
            Fault::Answer { status: 200, body: format!("{{\"x{CANARY}") },
            ErrorKind::Invalid,
            false,
            "expected",
        ),
        (Fault::Answer { status: 200, body: format!("\"{CANARY}\"") }, ErrorKind::Invalid, false, "expected"),
        (Fault::Cut, ErrorKind::Unavailable, true, "connection broke"),
        (Fault::Oversized { bytes: 5 << 20 }, ErrorKind::Invalid, false, "larger than"),
        (
            Fault::Redirect { origin: "http://127.0.0.2:1".into() },
            ErrorKind::Unavailable,
            false,
            "not followed",
        ),
    ] {
        stage.faults.show_to("GetSecretValue", fault.clone());
        let error = aws.read(&reference("aws://a")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{fault:?}: {error}");
        let shown = format!("{error} {error:?} {aws:?}");
        assert!(shown.contains(part) && shown.contains("aws://a") && shown.contains("read"), "{shown}");
        assert!(!shown.contains(CANARY) && !shown.contains("pod-secret-key"), "{shown}");
    }
    stage.faults.heal();
    aws.read(&reference("aws://a")).await.unwrap();
    let own: Vec<String> =
        log.text().lines().filter(|line| line.contains(" keywheel_")).map(str::to_owned).collect();
    assert!(!own.is_empty() && own.iter().all(|line| !line.contains(CANARY)), "{own:?}");
}

#[tokio::test]
async fn a_throttled_account_is_left_alone_by_all_calls() {
    let stage = Stage::new();
    for name in ["a", "b"] {
        stage.moto.put(name, "x");
    }
    let aws = stage.provider("");
    stage.faults.show(refusal(400, "ThrottlingException", "Rate exceeded"));
    let error = aws.read(&reference("aws://a")).await.unwrap_err();
    let wait = error.retry_after().unwrap();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::RateLimited, true), "{error}");
    assert!(wait > Duration::from_millis(300) && wait <= Duration::from_secs(1), "{wait:?}");
    let before = stage.faults.count();
    let held = join_all(["a", "b", "a"].map(|name| {
        let (aws, reference) = (&aws, reference(&format!("aws://{name}")));
        async move { aws.read(&reference).await.unwrap_err() }
    }));
    assert!(held.await.iter().all(|error| error.kind() == ErrorKind::RateLimited));
    assert_eq!(stage.faults.count(), before, "nothing was sent meanwhile");
    stage.faults.heal();
    let begun = Instant::now();
    aws_support::until("calls to be let through again", async || aws.read(&reference("aws://b")).await.ok())
        .await;
    assert!(begun.elapsed() < Duration::from_secs(3));

    // What the answer wants counts more.
    stage.faults.show(Fault::TooManyRequests { retry_after: 7 });
    let error = aws.read(&reference("aws://a")).await.unwrap_err();
    let wait = error.retry_after().unwrap();
    assert!(wait > Duration::from_secs(6) && wait <= Duration::from_secs(7), "{error} {wait:?}");
}

#[tokio::test]
async fn what_hangs_costs_one_time_out_and_what_is_late_is_waited_for() {
    let stage = Stage::new();
    stage.moto.put("a", "x");
    let aws = stage.provider_with("", context_with(BudgetLimits::default(), Duration::from_millis(800)));
    aws.read(&reference("aws://a")).await.unwrap();
    stage.faults.show(Fault::Late { by: Duration::from_millis(200) });
    aws.read(&reference("aws://a")).await.unwrap();
    stage.faults.show(Fault::Hang);
    let begun = Instant::now();
    let error = aws.read(&reference("aws://a")).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Timeout, true), "{error}");
    assert!(error.to_string().contains("did not answer within 800ms (server: http://127.0.0.1:"), "{error}");
    stage.faults.heal();
    aws.read(&reference("aws://a")).await.unwrap();
}

#[tokio::test]
async fn requests_stay_within_the_budget() {
    let stage = Stage::new();
    stage.moto.put("a", "x");
    let limits = BudgetLimits { requests_per_second: 20.0, burst: 2, ..BudgetLimits::default() };
    let aws = stage.provider_with("", context_with(limits, Duration::from_secs(5)));
    let begun = Instant::now();
    for _ in 0..12 {
        aws.read(&reference("aws://a?stage=AWSCURRENT")).await.unwrap();
    }
    // Twelve reads and the agent's answer, two of them free.
    assert!(begun.elapsed() >= Duration::from_millis(540), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_region_that_is_not_there_is_named() {
    let port = keywheel_tests::ports::free();
    let stage = Stage::new();
    let settings =
        format!("  region: eu-west-1\n  endpoint_url: http://127.0.0.1:{port}\n{}", stage.pod_identity());
    let aws = configured_with(&settings, &[], context());
    let error = aws.read(&reference("aws://a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("server: http://127.0.0.1:{port}")) && text.contains("refused"), "{text}");
    assert!(text.contains("region: eu-west-1"), "{text}");
}
