//! Logins and the life of a token, at a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests play the kubelet and others who write token files")]

mod vault_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::{ErrorKind, Provider, Version};
use keywheel_tests::OpenBao;
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use vault_support::{expose, logging_in, provider, reference};

/// A server with the secret `secret/a`, and a jwt login for one account.
struct Stage {
    bao: OpenBao,
    issuer: Issuer,
    account: ServiceAccount,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(token: &Value) -> Self {
        let bao = OpenBao::start();
        bao.kv_put("secret", "a", &json!({"x": "one"}));
        bao.policy("reader", r#"path "secret/*" { capabilities = ["read"] }"#);
        let (issuer, account) = (Issuer::generate(), ServiceAccount::new("shop", "orders"));
        bao.enable_jwt("jwt", &issuer);
        let stage = Self { bao, issuer, account, folder: tempfile::tempdir().unwrap() };
        stage.role(token);
        stage.write_token(0..600);
        stage
    }

    fn role(&self, token: &Value) {
        let mut body = json!({"token_policies": ["reader"]});
        body.as_object_mut().unwrap().extend(token.as_object().unwrap().clone());
        self.bao.jwt_role("jwt", "orders", &self.account, &body);
    }

    fn token_file(&self) -> std::path::PathBuf {
        self.folder.path().join("token")
    }

    fn write_token(&self, valid: std::ops::Range<i64>) {
        replace(&self.token_file(), &self.issuer.token(&self.account, valid));
    }

    fn auth(&self) -> String {
        format!("   method: jwt\n   role: orders\n   token_file: {}\n", self.token_file().display())
    }

    fn provider(&self) -> Arc<dyn Provider> {
        logging_in(&self.bao, &self.auth())
    }

    async fn login_error(&self, auth: &str) -> String {
        let error = logging_in(&self.bao, auth).read(&a()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        error.to_string()
    }
}

fn a() -> keywheel_core::SecretRef {
    reference("vault://secret/a")
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn maintained(vault: &Arc<dyn Provider>) -> JoinHandle<()> {
    let vault = Arc::clone(vault);
    tokio::spawn(async move { vault.maintain().await })
}

async fn reads(vault: &Arc<dyn Provider>, count: usize) -> Vec<keywheel_core::Result<()>> {
    let mut reads = JoinSet::new();
    for _ in 0..count {
        let vault = Arc::clone(vault);
        reads.spawn(async move { vault.read(&a()).await.map(drop) });
    }
    reads.join_all().await
}

#[tokio::test]
async fn a_thousand_secrets_log_in_once_and_give_the_token_back() {
    let stage = Stage::new(&json!({"token_ttl": "10m"}));
    let vault = stage.provider();
    let mark = stage.bao.mark();
    reads(&vault, 1000).await.into_iter().for_each(|read| read.unwrap());
    assert_eq!(stage.bao.count_since(mark, "auth/jwt/login"), 1);
    assert_eq!(stage.bao.requests_since(mark).len(), 1002, "a login, a mount and the values");

    let mark = stage.bao.mark();
    vault.close(keywheel_core::provider::Ending::Revoke).await.unwrap();
    let seen = stage.bao.requests_since(mark);
    assert_eq!(seen.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["auth/token/revoke-self"]);
    let accessor = seen[0].accessor.clone().unwrap();
    assert!(
        stage
            .bao
            .send(
                keywheel_tests::http::Method::POST,
                "auth/token/lookup-accessor",
                Some(&json!({"accessor": accessor}))
            )
            .status
            >= 400
    );
    vault.close(keywheel_core::provider::Ending::Revoke).await.unwrap();
    assert_eq!(expose(&vault.read(&a()).await.unwrap(), "x"), "one", "a read after it logs in again");
}

#[tokio::test]
async fn approle_logs_in_with_ids_from_files() {
    let stage = Stage::new(&json!({}));
    stage.bao.enable_approle("apps/approle");
    let (role_id, secret_id) =
        stage.bao.approle("apps/approle", "orders", &json!({"token_policies": ["reader"]}));
    let (role_file, secret_file) = (stage.folder.path().join("role"), stage.folder.path().join("secret"));
    std::fs::write(&role_file, format!("{role_id}\n")).unwrap();
    std::fs::write(&secret_file, &secret_id).unwrap();
    let auth = |secret: &str| {
        format!(
            "   method: approle\n   mount: apps/approle/\n   role_id_file: {}\n{secret}",
            role_file.display()
        )
    };
    let file = format!("   secret_id_file: {}\n", secret_file.display());
    assert_eq!(expose(&logging_in(&stage.bao, &auth(&file)).read(&a()).await.unwrap(), "x"), "one");
    let value = format!("   secret_id: {secret_id}\n");
    assert_eq!(expose(&logging_in(&stage.bao, &auth(&value)).read(&a()).await.unwrap(), "x"), "one");
    let message = stage.login_error(&auth("   secret_id: c4n4ry\n")).await;
    assert!(message.contains("the secret id") && message.contains("auth/apps/approle"), "{message}");
    assert!(!message.contains("c4n4ry") && !message.contains(&role_id), "{message}");
}

#[tokio::test]
async fn refused_logins_say_what_is_wrong() {
    let stage = Stage::new(&json!({}));
    let auth = |role: &str, mount: &str, token: &str| {
        format!("   method: jwt\n   role: {role}\n   mount: {mount}\n   token: {token}\n")
    };
    let good = stage.issuer.token(&stage.account, 0..600);
    let expired = stage.issuer.token(&stage.account, -600..-10);
    let audience = ServiceAccount { audience: "other".into(), ..stage.account.clone() };
    let audience = stage.issuer.token(&audience, 0..600);
    let other = stage.issuer.token(&ServiceAccount::new("shop", "other"), 0..600);
    let forged = Issuer::generate().token(&stage.account, 0..600);
    for (auth, part) in [
        (auth("nobody", "jwt", &good), "the role is not known"),
        (auth("orders", "nowhere", &good), "no such login there"),
        (auth("orders", "jwt", &expired), "has expired"),
        (auth("orders", "jwt", &audience), "another audience"),
        (auth("orders", "jwt", &other), "another account"),
        (auth("orders", "jwt", &forged), "signed by a key"),
        (auth("orders", "jwt", "c4n4ry"), "not a JWT"),
    ] {
        let message = stage.login_error(&auth).await;
        assert!(message.contains(part) && message.contains("log in"), "{part}: {message}");
        assert!(!message.contains("c4n4ry") && !message.contains("eyJ"), "{message}");
    }
}

#[tokio::test]
async fn a_token_file_that_is_empty_or_missing_is_named_and_asks_nobody() {
    let stage = Stage::new(&json!({}));
    let mark = stage.bao.mark();
    for content in [None, Some(""), Some(" \n"), Some("two words")] {
        std::fs::remove_file(stage.token_file()).unwrap_or_default();
        if let Some(content) = content {
            std::fs::write(stage.token_file(), content).unwrap();
        }
        let message = stage.login_error(&stage.auth()).await;
        assert!(message.contains(stage.token_file().to_str().unwrap()), "{message}");
    }
    assert_eq!(stage.bao.requests_since(mark).len(), 0);
}

#[tokio::test]
async fn a_failing_login_is_shared_and_not_repeated_at_once() {
    let stage = Stage::new(&json!({}));
    stage.write_token(-600..-10);
    let vault = stage.provider();
    let mark = stage.bao.mark();
    for _ in 0..5 {
        assert!(reads(&vault, 100).await.iter().all(|read| read.is_err()));
    }
    let logins = stage.bao.count_since(mark, "auth/jwt/login");
    assert!(logins <= 3, "{logins} logins");
    stage.write_token(0..600);
    vault_support::until("a login with the new token", async || vault.read(&a()).await.ok()).await;
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_for_all() {
    let stage = Stage::new(&json!({}));
    let vault = stage.provider();
    vault.read(&a()).await.unwrap();
    let mark = stage.bao.mark();
    stage.bao.write("sys/leases/revoke-force/auth/jwt", &json!({}));
    reads(&vault, 300).await.into_iter().for_each(|read| read.unwrap());
    assert_eq!(stage.bao.count_since(mark, "auth/jwt/login"), 1);
}

#[tokio::test]
async fn a_storm_of_refusals_does_not_become_one_of_logins() {
    let stage = Stage::new(&json!({}));
    let vault = stage.provider();
    vault.read(&a()).await.unwrap();
    stage.bao.policy("reader", r#"path "secret/nothing" { capabilities = ["read"] }"#);
    let mark = stage.bao.mark();
    for _ in 0..5 {
        for read in reads(&vault, 200).await {
            let error = read.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
    }
    assert_eq!(stage.bao.count_since(mark, "auth/jwt/login"), 1);
    stage.bao.policy("reader", r#"path "secret/*" { capabilities = ["read"] }"#);
    vault.read(&a()).await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_and_replaced_before_it_ends() {
    let stage = Stage::new(&json!({"token_ttl": "2s", "token_max_ttl": "5s"}));
    let vault = stage.provider();
    let secret = vault.read(&a()).await.unwrap();
    let maintained = maintained(&vault);
    let mark = stage.bao.mark();
    let end = Instant::now() + Duration::from_secs(13);
    while Instant::now() < end {
        assert!(vault.read_if_changed(&a(), secret.version()).await.unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let renewals = stage.bao.count_since(mark, "auth/token/renew-self");
    let logins = stage.bao.count_since(mark, "auth/jwt/login");
    assert!((4..=20).contains(&renewals), "{renewals} renewals");
    assert!((2..=6).contains(&logins), "{logins} logins: one for each max_ttl of 5 s");
    let refused: Vec<_> = stage
        .bao
        .requests_since(mark)
        .into_iter()
        .filter(|seen| !seen.path.starts_with("auth/") && seen.entry.get("error").is_some())
        .collect();
    assert!(refused.is_empty(), "no request met an ended token: {refused:?}");
    assert!(!maintained.is_finished());
    maintained.abort();
}

#[tokio::test]
async fn a_batch_token_is_replaced_and_never_renewed() {
    let stage = Stage::new(&json!({"token_ttl": "2s", "token_type": "batch"}));
    let vault = stage.provider();
    vault.read(&a()).await.unwrap();
    let maintained = maintained(&vault);
    let mark = stage.bao.mark();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        vault.read(&a()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let logins = stage.bao.count_since(mark, "auth/jwt/login");
    assert!((3..=5).contains(&logins), "{logins} logins");
    assert_eq!(stage.bao.count_since(mark, "auth/token/renew-self"), 0);
    maintained.abort();
}

#[tokio::test]
async fn a_given_token_is_renewed_and_never_revoked() {
    let stage = Stage::new(&json!({}));
    let token = stage.bao.token(&json!({"policies": ["reader"], "period": "2s", "no_parent": true}));
    let vault = provider(&stage.bao, &[("VAULT_TOKEN", &token.token)]);
    vault.read(&a()).await.unwrap();
    let maintained = maintained(&vault);
    let mark = stage.bao.mark();
    vault_support::until("three renewals", async || {
        vault.read(&a()).await.unwrap();
        (stage.bao.count_since(mark, "auth/token/renew-self") >= 3).then_some(())
    })
    .await;
    maintained.abort();
    vault.close(keywheel_core::provider::Ending::Revoke).await.unwrap();
    assert_eq!(stage.bao.count_since(mark, "auth/token/revoke"), 0);
    assert_eq!(stage.bao.count_since(mark, "auth/token/lookup-self"), 1);
}

#[tokio::test]
async fn a_replaced_token_file_is_taken_up() {
    let stage = Stage::new(&json!({}));
    let new = || stage.bao.token(&json!({"policies": ["reader"], "no_parent": true}));
    let (one, two) = (new(), new());
    let file = stage.folder.path().join("sink");
    replace(&file, &one.token);
    let vault = logging_in(&stage.bao, &format!("   method: token\n   token_file: {}\n", file.display()));
    vault.read(&a()).await.unwrap();
    replace(&file, &two.token);
    stage.bao.revoke(&one);
    vault.read(&a()).await.unwrap();
    stage.bao.revoke(&two);
    let error = vault.read(&a()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("token must still be valid"), "{error}");
}

#[tokio::test]
async fn the_service_account_token_is_read_at_each_login() {
    let stage = Stage::new(&json!({"token_ttl": "2s", "token_type": "batch"}));
    stage.write_token(0..2);
    let vault = stage.provider();
    vault.read(&a()).await.unwrap();
    let maintained = maintained(&vault);
    // The first one has ended when the next login is due, and the new one is there in time.
    stage.write_token(0..600);
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        vault.read(&a()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    maintained.abort();
}

#[tokio::test]
async fn an_outage_needs_no_restart() {
    let mut stage = Stage::new(&json!({"token_ttl": "10m"}));
    let vault = stage.provider();
    vault.read(&a()).await.unwrap();
    stage.bao.stop();
    let error = vault.read(&a()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    stage.bao.start_again();
    assert_eq!(expose(&vault.read(&a()).await.unwrap(), "x"), "one");
    stage.bao.seal();
    let error = vault.read(&a()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("sealed"), "{error}");
    stage.bao.unseal();
    let back = vault_support::until("the server", async || vault.read(&a()).await.ok()).await;
    assert_eq!(back.version(), &Version::new(1));
}
