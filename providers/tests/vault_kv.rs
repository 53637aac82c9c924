//! KV secrets of a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use keywheel_core::{ErrorKind, Provider, Version};
use keywheel_tests::OpenBao;
use serde_json::json;
use vault_support::{expose, provider, reference};

#[tokio::test]
async fn reads_a_secret_over_tls() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "orders/db", &json!({"username": "orders", "password": "hunter2", "port": 5432}));
    let mark = bao.mark();
    let vault = provider(&bao, &[("VAULT_TOKEN", bao.root_token())]);

    let secret = vault.read(&reference("vault://secret/orders/db")).await.unwrap();

    assert_eq!(expose(&secret, "password"), "hunter2");
    assert_eq!(expose(&secret, "port"), "5432");
    assert_eq!(secret.version(), &Version::new(1));
    assert_eq!(bao.requests_since(mark).len(), 2, "{:?}", bao.requests_since(mark));
    let error = vault.read(&reference("vault://secret/orders/none")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
