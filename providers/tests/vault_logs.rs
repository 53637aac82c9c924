//! No value, token or credential shows in any log, at any level, of any crate.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the test plays the kubelet")]

mod vault_support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use keywheel_core::Provider;
use keywheel_tests::OpenBao;
use keywheel_tests::faults::{Fault, Faults};
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;
use vault_support::{configured, reference};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_hold_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || writer.clone()).init();

    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": CANARY}));
    bao.kv1_put("kv1", "a", &json!({"x": CANARY}));
    bao.policy("reader", r#"path "+/*" { capabilities = ["read"] }"#);
    let (issuer, account) = (Issuer::generate(), ServiceAccount::new("shop", "orders"));
    bao.enable_jwt("jwt", &issuer);
    bao.jwt_role("jwt", "orders", &account, &json!({"token_policies": ["reader"], "token_ttl": "2s"}));
    bao.enable_approle("approle");
    let (role_id, secret_id) = bao.approle("approle", "orders", &json!({"token_policies": ["reader"]}));
    let jwt = issuer.token(&account, 0..600);
    let faults = Faults::before(&bao.plain_address());
    let auths = [
        format!("{{method: jwt, role: orders, token: {jwt}}}"),
        format!("{{method: jwt, role: nobody, token: {jwt}}}"),
        format!("{{method: approle, role_id: {role_id}, secret_id: {secret_id}}}"),
        format!("{{token: {}}}", bao.root_token()),
    ];
    for auth in auths {
        let vault = configured(&format!("  address: {}\n  auth: {auth}\n", faults.address()));
        let maintained = tokio::spawn({
            let vault = Arc::clone(&vault);
            async move { vault.maintain().await }
        });
        for path in ["secret/a", "kv1/a", "secret/none"] {
            let at = reference(&format!("vault://{path}"));
            if let Ok(secret) = vault.read(&at).await {
                vault.read_if_changed(&at, secret.version()).await.unwrap();
            }
            for fault in [
                Fault::Cut,
                Fault::Sealed,
                Fault::Answer { status: 200, body: format!("{{\"data\": \"{CANARY}\"}}") },
                Fault::Answer { status: 400, body: format!("{{\"errors\": [\"{CANARY}\"]}}") },
            ] {
                faults.show(fault);
                vault.read(&at).await.unwrap_err();
                faults.heal();
            }
        }
        maintained.abort();
        vault.close(keywheel_core::provider::Ending::Revoke).await.unwrap_or_default();
    }

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("keywheel_providers::vault") && log.contains("secret/data/a"), "nothing was logged");
    assert!(!log.contains(" ERROR "), "errors are for callers to log: {log}");
    for secret in [CANARY, &jwt, &secret_id, bao.root_token()] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    let mut words = log.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    assert!(!words.any(|word| word.starts_with("s.") && word.len() > 20), "a service token is in the log");
}

const CANARY: &str = "c4n4ry-of-the-logs";
