//! Answers that a server seldom gives, in front of a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::sync::Arc;
use std::time::Duration;

use keywheel_core::{Error, ErrorKind, Provider};
use keywheel_tests::OpenBao;
use keywheel_tests::faults::{Fault, Faults};
use serde_json::json;
use vault_support::{from_environment, reference};

/// A server with the secret `secret/a`, and what stands before it.
struct Stage {
    bao: OpenBao,
    faults: Faults,
}

impl Stage {
    fn new() -> Self {
        let bao = OpenBao::start();
        bao.kv_put("secret", "a", &json!({"x": CANARY}));
        let faults = Faults::before(&bao.plain_address());
        Self { bao, faults }
    }

    fn provider(&self, more: &[(&str, &str)]) -> Arc<dyn Provider> {
        let address = self.faults.address();
        let base = [("VAULT_ADDR", address.as_str()), ("VAULT_TOKEN", self.bao.root_token())];
        from_environment(base.into_iter().chain(more.iter().copied()))
    }

    /// Reads the secret of a provider that knows the mount, while `fault` is shown.
    async fn error(&self, fault: Fault) -> Error {
        let vault = self.provider(&[]);
        vault.read(&reference("vault://secret/a")).await.unwrap();
        self.faults.show(fault);
        let error = vault.read(&reference("vault://secret/a")).await.unwrap_err();
        self.faults.heal();
        vault.read(&reference("vault://secret/a")).await.unwrap();
        let shown = format!("{error} {error:?} {vault:?}");
        assert!(!shown.contains(CANARY) && !shown.contains(self.bao.root_token()), "{shown}");
        assert!(shown.contains("read") && shown.contains("secret/data/a"), "{shown}");
        error
    }
}

fn answer(status: u16, body: &str) -> Fault {
    Fault::Answer { status, body: body.into() }
}

#[tokio::test]
async fn each_status_is_classified_and_its_body_is_not_quoted() {
    let stage = Stage::new();
    let quoting = format!(r#"{{"errors":["{CANARY}"]}}"#);
    for (status, kind, temporary, part) in [
        (400, ErrorKind::Invalid, false, "does not accept"),
        (403, ErrorKind::PermissionDenied, false, "`read` on secret/data/a"),
        (412, ErrorKind::Unavailable, true, "not up to date"),
        (418, ErrorKind::Invalid, false, "should not have"),
        (472, ErrorKind::Unavailable, true, "standby"),
        (473, ErrorKind::Unavailable, true, "standby"),
        (500, ErrorKind::Unavailable, true, "failed"),
        (501, ErrorKind::Unavailable, true, "not initialized"),
        (502, ErrorKind::Unavailable, true, "failed"),
        (503, ErrorKind::Unavailable, true, "not ready"),
        (504, ErrorKind::Unavailable, true, "failed"),
    ] {
        let error = stage.error(answer(status, &quoting)).await;
        assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.to_string().contains(&format!("status: {status}")), "{error}");
    }
    let sealed = stage.error(Fault::Sealed).await;
    assert!(sealed.is_temporary() && sealed.to_string().contains("sealed"), "{sealed}");
}

#[tokio::test]
async fn a_quota_says_how_long_to_wait() {
    let stage = Stage::new();
    let error = stage.error(Fault::TooManyRequests { retry_after: 7 }).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::RateLimited, true), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused_whole() {
    let stage = Stage::new();
    let error = stage.error(Fault::Cut).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    let error = stage.error(Fault::Oversized { bytes: 5 << 20 }).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Invalid, false), "{error}");
    assert!(error.to_string().contains("larger than"), "{error}");
    for body in [
        format!("\"{CANARY}\""),
        format!("<html>{CANARY}</html>"),
        format!(r#"{{"data": "{CANARY}"}}"#),
        format!(r#"{{"data": {{"data": ["{CANARY}"], "metadata": {{"version": 1}}}}}}"#),
        format!(r#"{{"data": {{"data": {{"x": "{CANARY}"}}, "metadata": {{"version": "{CANARY}"}}}}}}"#),
        format!(r#"{{"data": {{"data": {{"x": "{CANARY}"#),
        String::new(),
    ] {
        let error = stage.error(answer(200, &body)).await;
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Invalid, false), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_is_named_and_the_token_stays() {
    let stage = Stage::new();
    let elsewhere = Faults::elsewhere();
    let error = stage.error(Fault::Redirect { origin: elsewhere.address() }).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false), "{error}");
    assert!(error.to_string().contains(&elsewhere.address()), "{error}");
    assert!(error.to_string().contains("307"), "{error}");
    assert_eq!(elsewhere.count(), 0, "nothing was sent there");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let stage = Stage::new();
    let vault = stage.provider(&[("VAULT_CLIENT_TIMEOUT", "300ms")]);
    vault.read(&reference("vault://secret/a")).await.unwrap();
    stage.faults.show(Fault::Hang);
    let begun = tokio::time::Instant::now();
    let error = vault.read(&reference("vault://secret/a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Timeout, true), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    stage.faults.heal();
    vault.read(&reference("vault://secret/a")).await.unwrap();
}

#[tokio::test]
async fn requests_carry_what_the_server_wants_and_go_below_a_prefix() {
    let stage = Stage::new();
    let address = format!("{}/behind/proxy/", stage.faults.address());
    let vault = from_environment([
        ("VAULT_ADDR", address.as_str()),
        ("VAULT_TOKEN", stage.bao.root_token()),
        ("VAULT_NAMESPACE", "team-a"),
    ]);
    // Nothing serves that prefix: only what was sent counts.
    assert!(vault.read(&reference("vault://secret/orders db/%C5%BC?kv=2&version=3")).await.is_err());
    let seen = &stage.faults.arrived()[0];
    assert_eq!(seen.path, "/behind/proxy/v1/secret/data/orders%20db/%C5%BC?version=3");
    assert_eq!(seen.headers["x-vault-request"], "true");
    assert_eq!(seen.headers["x-vault-namespace"], "team-a");
    assert_eq!(seen.headers["x-vault-token"], stage.bao.root_token());
    assert_eq!(seen.headers["host"], stage.faults.address().trim_start_matches("http://"));
}

#[tokio::test]
async fn kubernetes_logs_in_with_role_and_token() {
    let stage = Stage::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    #[allow(clippy::disallowed_methods, reason = "the test plays the kubelet")]
    std::fs::write(&file, "c4n4ry.jwt\n").unwrap();
    let granted = json!({"auth": {
        "client_token": stage.bao.root_token(), "lease_duration": 3600, "renewable": true, "accessor": "a",
    }});
    stage.faults.show_at("/v1/auth/k8s/one/login", answer(200, &granted.to_string()));
    let vault = vault_support::configured(&format!(
        "  address: {}\n  auth: {{method: kubernetes, mount: k8s/one, role: app, token_file: {}}}\n",
        stage.faults.address(),
        file.display()
    ));
    vault.read(&reference("vault://secret/a")).await.unwrap();
    let paths: Vec<_> = stage.faults.arrived().into_iter().map(|seen| (seen.method, seen.path)).collect();
    let expected = [
        ("POST", "/v1/auth/k8s/one/login"),
        ("GET", "/v1/sys/internal/ui/mounts/secret/a"),
        ("GET", "/v1/secret/data/a"),
    ];
    assert_eq!(paths, expected.map(|(method, path)| (method.to_owned(), path.to_owned())));
    assert!(!stage.faults.arrived()[0].headers.contains_key("x-vault-token"));
}

const CANARY: &str = "c4n4ry-of-the-faults";
