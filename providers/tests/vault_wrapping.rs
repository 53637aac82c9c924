//! Values behind wrapping tokens of a real OpenBao server: each token once, and an alarm where somebody else was there.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests play those who hand wrapping tokens out")]

mod vault_support;

use std::path::PathBuf;
use std::sync::Arc;

use keywheel_core::{Error, ErrorKind, Provider, SecretRef, Upkeep};
use keywheel_tests::OpenBao;
use keywheel_tests::faults::{Fault, Faults};
use keywheel_tests::http::{Method, Request};
use keywheel_tests::openbao::Mark;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;
use vault_support::{Log, configured_with, context, expose, from_environment, reference};

/// A server with a value of each kind, a provider that is nobody there, and a file for wrapping tokens. What is logged is caught.
struct Stage {
    bao: OpenBao,
    faults: Faults,
    vault: Arc<dyn Provider>,
    folder: tempfile::TempDir,
    log: Log,
    _catching: DefaultGuard,
}

impl Stage {
    fn new() -> Self {
        let (log, catching) = Log::catch();
        let bao = OpenBao::start();
        bao.kv_put("secret", "a", &json!({"x": CANARY}));
        bao.kv_put("secret", "b", &json!({"x": CANARY}));
        bao.kv1_put("kv1", "a", &json!({"x": CANARY}));
        bao.write("sys/mounts/transit", &json!({"type": "transit"}));
        let faults = Faults::before(&bao.plain_address());
        let vault = from_environment([("VAULT_ADDR", faults.address().as_str()), ("VAULT_TOKEN", "nobody")]);
        Self { bao, faults, vault, folder: tempfile::tempdir().unwrap(), log, _catching: catching }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("wrapped")
    }

    /// Has the answer to a request wrapped, and puts the token into the file.
    fn wrap(&self, method: Method, path: &str, body: &Value) -> String {
        let url = format!("{}/v1/{path}", self.bao.plain_address());
        let request = Request::new(method.clone(), &url)
            .with_header("X-Vault-Token", self.bao.root_token())
            .with_header("X-Vault-Wrap-TTL", "300s");
        let request = if method == Method::GET { request } else { request.with_json(body) };
        let answer = request.send().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["wrap_info"]["token"].as_str().unwrap().to_owned();
        std::fs::write(self.file(), format!("{token}\n")).unwrap();
        token
    }

    /// Unwraps a token as its owner does; returns the status.
    fn unwrap(&self, token: &str) -> u16 {
        let url = format!("{}/v1/sys/wrapping/unwrap", self.bao.plain_address());
        Request::new(Method::POST, &url).with_header("X-Vault-Token", token).send().unwrap().status
    }

    fn at(&self, path: &str) -> SecretRef {
        reference(&format!("vault://{path}?wrapped={}", self.file().display()))
    }

    /// Reads what cannot be trusted, twice: the second time without asking the server.
    async fn intercepted(&self, path: &str, part: &str) {
        let error = self.error(path).await;
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Intercepted, false), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        let before = self.faults.count();
        assert_eq!(self.error(path).await.kind(), ErrorKind::Intercepted);
        assert_eq!(self.faults.count(), before, "it is not tried again");
    }

    async fn error(&self, path: &str) -> Error {
        let error = self.vault.read(&self.at(path)).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
        error
    }

    /// Counts the alarms.
    fn alarms(&self) -> usize {
        self.log.text().lines().filter(|line| line.contains("ERROR") && line.contains("ALARM")).count()
    }

    /// Asserts that neither the log nor what the provider shows of itself holds a value or one of `tokens`.
    fn assert_secret(&self, tokens: &[String]) {
        let shown = format!("{} {:?}", self.log.text(), self.vault);
        assert!(!shown.contains(CANARY), "a value was shown");
        assert!(tokens.iter().all(|token| !shown.contains(token)), "a token was shown");
    }
}

#[tokio::test]
async fn each_token_is_used_once() {
    let stage = Stage::new();
    let mut tokens = Vec::new();
    for (method, made_by, path, field) in [
        (Method::GET, "secret/data/a", "secret/a", "x"),
        (Method::GET, "secret/data/a", "secret/data/a", "x"),
        (Method::GET, "kv1/a", "kv1/a", "x"),
        (Method::POST, "transit/random/8", "transit/random/8", "random_bytes"),
    ] {
        tokens.push(stage.wrap(method.clone(), made_by, &json!({})));
        let before = stage.faults.count();
        let one = stage.vault.read(&stage.at(path)).await.unwrap();
        assert_eq!(one.fields().keys().collect::<Vec<_>>(), [field], "{path}");
        assert!(field != "x" || expose(&one, "x") == CANARY);
        assert_eq!(one.upkeep, Upkeep::Once);
        assert_eq!(stage.faults.count(), before + 2, "a look and the use");

        assert!(stage.vault.read_if_changed(&stage.at(path), one.version()).await.unwrap().is_none());
        stage.intercepted(path, "was used here before").await;
        assert_eq!(stage.faults.count(), before + 2);

        tokens.push(stage.wrap(method, made_by, &json!({})));
        let two = stage.vault.read_if_changed(&stage.at(path), one.version()).await.unwrap().unwrap();
        assert_ne!(one.version(), two.version());
        std::fs::remove_file(stage.file()).unwrap();
        assert!(stage.vault.read_if_changed(&stage.at(path), two.version()).await.unwrap().is_none());
        assert_eq!(stage.faults.count(), before + 4);
    }
    assert_eq!(stage.alarms(), 0);
    stage.assert_secret(&tokens);
}

#[tokio::test]
async fn a_token_that_somebody_else_used_is_an_alarm_once() {
    let stage = Stage::new();
    let spent = stage.wrap(Method::GET, "secret/data/a", &json!({}));
    assert_eq!(stage.unwrap(&spent), 200);
    stage.intercepted("secret/a", "used up").await;
    assert_eq!(stage.alarms(), 1);
    assert!(stage.log.count("path=\"secret/a\"") >= 1, "{}", stage.log.text());
    std::fs::write(stage.file(), "s.c4n4ryT0kenThatNobodyMade").unwrap();
    stage.intercepted("secret/a", "no wrapping token").await;
    assert_eq!(stage.alarms(), 2);
    stage.assert_secret(&[spent, "c4n4ryT0ken".to_owned()]);
}

#[tokio::test]
async fn a_token_that_was_made_for_something_else_is_an_alarm_and_stays_unused() {
    let stage = Stage::new();
    let mut tokens = Vec::new();
    for (method, made_by) in [
        (Method::POST, "sys/wrapping/wrap"),
        (Method::GET, "secret/data/b"),
        (Method::GET, "kv1/a"),
        (Method::GET, "secret/metadata/a"),
    ] {
        let token = stage.wrap(method, made_by, &json!({"x": CANARY}));
        stage.intercepted("secret/a", made_by).await;
        assert_eq!(stage.unwrap(&token), 200, "it was not used up");
        tokens.push(token);
    }
    assert_eq!(stage.alarms(), tokens.len());
    stage.assert_secret(&tokens);
}

#[tokio::test]
async fn a_server_that_does_not_answer_uses_no_token_up() {
    let stage = Stage::new();
    let token = stage.wrap(Method::GET, "secret/data/a", &json!({}));
    for (path, fault) in [
        ("/v1/sys/wrapping/lookup", Fault::Sealed),
        ("/v1/sys/wrapping/lookup", Fault::Cut),
        ("/v1/sys/wrapping/lookup", Fault::TooManyRequests { retry_after: 1 }),
        ("/v1/sys/wrapping/unwrap", Fault::Sealed),
        ("/v1/sys/wrapping/unwrap", Fault::TooManyRequests { retry_after: 1 }),
    ] {
        stage.faults.show_at(path, fault.clone());
        let error = stage.error("secret/a").await;
        assert!(error.is_temporary() && error.kind() != ErrorKind::Intercepted, "{path} {fault:?}: {error}");
        stage.faults.heal();
    }
    assert_eq!(stage.alarms(), 0);
    assert_eq!(expose(&stage.vault.read(&stage.at("secret/a")).await.unwrap(), "x"), CANARY);
    stage.assert_secret(&[token]);
}

#[tokio::test]
async fn a_token_whose_use_has_no_answer_is_an_alarm() {
    let stage = Stage::new();
    for fault in [Fault::Cut, Fault::Answer { status: 502, body: "{}".into() }] {
        let token = stage.wrap(Method::GET, "secret/data/a", &json!({}));
        stage.faults.show_at("/v1/sys/wrapping/unwrap", fault);
        stage.intercepted("secret/a", "may be used up").await;
        stage.faults.heal();
        stage.assert_secret(&[token]);
    }
    assert_eq!(stage.alarms(), 2);
}

#[tokio::test]
async fn what_holds_no_fields_is_no_alarm() {
    let stage = Stage::new();
    stage.bao.enable_approle("approle");
    let (role_id, secret_id) = stage.bao.approle("approle", "orders", &json!({}));
    let ids = json!({"role_id": role_id, "secret_id": secret_id});
    let token = stage.wrap(Method::POST, "auth/approle/login", &ids);
    for _ in 0..2 {
        let error = stage.error("auth/approle/login").await;
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Invalid, false), "{error}");
    }
    assert_eq!(stage.alarms(), 0);
    stage.assert_secret(&[token]);
}

/// Counts the requests to unwrap since `mark`.
fn unwraps(stage: &Stage, mark: Mark) -> usize {
    stage.bao.count_since(mark, "sys/wrapping")
}

/// Makes the approle `orders`; returns the path of its secret ids, and settings that log in with a wrapped one from the file.
fn wrapped_approle(stage: &Stage) -> (&'static str, String) {
    stage.bao.policy("reader", r#"path "secret/data/a" { capabilities = ["read"] }"#);
    stage.bao.enable_approle("approle");
    let (role_id, _) = stage.bao.approle("approle", "orders", &json!({"token_policies": ["reader"]}));
    let made_by = "auth/approle/role/orders/secret-id";
    let settings = format!(
        "  address: {}\n  auth:\n   method: approle\n   role_id: {role_id}\n   secret_id_file: {}\n   secret_id_response_wrapping_path: {made_by}\n",
        stage.faults.address(),
        stage.file().display()
    );
    (made_by, settings)
}

#[tokio::test]
async fn a_secret_id_outlives_a_login_that_fails() {
    let stage = Stage::new();
    let (made_by, settings) = wrapped_approle(&stage);
    let at = reference("vault://secret/a?kv=2");
    let context = context();
    let token = stage.wrap(Method::POST, made_by, &json!({}));
    stage.faults.show_at("/v1/auth/approle/login", Fault::Sealed);
    let error = configured_with(&settings, context.clone()).read(&at).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    stage.faults.heal();
    let vault = configured_with(&settings, context);
    assert_eq!(expose(&vault.read(&at).await.unwrap(), "x"), CANARY);
    assert_eq!(stage.alarms(), 0);
    stage.assert_secret(&[token]);
}

#[tokio::test]
async fn a_wrapped_secret_id_logs_in_again_and_again() {
    let stage = Stage::new();
    let (made_by, settings) = wrapped_approle(&stage);
    let at = reference("vault://secret/a?kv=2");
    let context = context();
    let vault = configured_with(&settings, context.clone());
    let mut tokens = vec![stage.wrap(Method::POST, made_by, &json!({}))];
    let mark = stage.bao.mark();
    for _ in 0..3 {
        assert_eq!(expose(&vault.read(&at).await.unwrap(), "x"), CANARY);
        stage.bao.write("sys/leases/revoke-force/auth/approle", &json!({}));
    }
    assert_eq!((unwraps(&stage, mark), stage.bao.count_since(mark, "auth/approle/login")), (2, 3));

    // Over a restart, too; and another token in the file is another secret id.
    let next = configured_with(&settings, context);
    assert_eq!(expose(&next.read(&at).await.unwrap(), "x"), CANARY);
    assert_eq!(unwraps(&stage, mark), 2);
    // In this order: the wrapping token itself is one of that path's, too.
    stage.bao.write("sys/leases/revoke-force/auth/approle", &json!({}));
    tokens.push(stage.wrap(Method::POST, made_by, &json!({})));
    assert_eq!(expose(&next.read(&at).await.unwrap(), "x"), CANARY);
    assert_eq!(unwraps(&stage, mark), 4);

    let spent = stage.wrap(Method::POST, made_by, &json!({}));
    assert_eq!(stage.unwrap(&spent), 200);
    let mark = stage.bao.mark();
    let vault = configured_with(&settings, vault_support::context());
    for _ in 0..3 {
        let error = vault.read(&at).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Intercepted, false), "{error}");
    }
    assert_eq!((unwraps(&stage, mark), stage.alarms()), (1, 1));
    tokens.push(spent);
    stage.assert_secret(&tokens);
}

const CANARY: &str = "c4n4ry-of-the-wrapping";
