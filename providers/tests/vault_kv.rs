//! KV secrets of a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::sync::Arc;

use keywheel_core::{ErrorKind, Provider, Version};
use keywheel_tests::OpenBao;
use serde_json::json;
use tokio::task::JoinSet;
use vault_support::{expose, provider, reference};

/// A provider with the root token.
fn root(bao: &OpenBao) -> Arc<dyn Provider> {
    provider(bao, &[("VAULT_TOKEN", bao.root_token())])
}

/// A provider with a token that the policy `rules` allows something.
fn limited(bao: &OpenBao, rules: &str) -> Arc<dyn Provider> {
    bao.policy("limited", rules);
    let token = bao.token(&json!({"policies": ["limited"], "no_parent": true}));
    provider(bao, &[("VAULT_TOKEN", &token.token)])
}

async fn error(vault: &Arc<dyn Provider>, text: &str) -> (ErrorKind, String) {
    let error = vault.read(&reference(text)).await.unwrap_err();
    assert!(!error.is_temporary(), "{error}");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_secret_costs_two_requests_an_unchanged_one_one_and_a_changed_one_two() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "orders/db", &json!({"username": "orders", "password": "hunter2", "port": 5432}));
    let vault = root(&bao);
    let at = reference("vault://secret/orders/db");

    let mark = bao.mark();
    let secret = vault.read(&at).await.unwrap();
    assert_eq!(expose(&secret, "password"), "hunter2");
    assert_eq!(expose(&secret, "port"), "5432");
    assert_eq!(secret.version(), &Version::new(1));
    assert_eq!(bao.requests_since(mark).len(), 2, "the mount and the value");

    let mark = bao.mark();
    assert!(vault.read_if_changed(&at, secret.version()).await.unwrap().is_none());
    let seen = bao.requests_since(mark);
    assert_eq!(seen.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["secret/metadata/orders/db"]);

    bao.kv_put("secret", "orders/db", &json!({"password": "hunter3"}));
    let mark = bao.mark();
    let secret = vault.read_if_changed(&at, secret.version()).await.unwrap().unwrap();
    assert_eq!((expose(&secret, "password").as_str(), secret.version().as_str()), ("hunter3", "2"));
    assert_eq!(bao.requests_since(mark).len(), 2, "the metadata and the value");
}

#[tokio::test]
async fn a_thousand_secrets_of_one_mount_ask_for_it_once() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "one", &json!({"a": "b"}));
    let vault = root(&bao);
    let mark = bao.mark();
    let mut reads = JoinSet::new();
    for _ in 0..1000 {
        let vault = Arc::clone(&vault);
        reads.spawn(async move { vault.read(&reference("vault://secret/one")).await.map(drop) });
    }
    reads.join_all().await.into_iter().for_each(|read| read.unwrap());
    assert_eq!(bao.count_since(mark, "sys/internal/ui/mounts"), 1);
    assert_eq!(bao.requests_since(mark).len(), 1001);
}

#[tokio::test]
async fn kv_1_is_compared_by_its_values() {
    let bao = OpenBao::start();
    bao.kv1_put("kv1", "orders", &json!({"password": "one", "nested": {"list": [1, true]}}));
    let vault = root(&bao);
    let at = reference("vault://kv1/orders");
    let secret = vault.read(&at).await.unwrap();
    assert_eq!(expose(&secret, "nested"), r#"{"list":[1,true]}"#);
    assert!(vault.read_if_changed(&at, secret.version()).await.unwrap().is_none());
    bao.kv1_put("kv1", "orders", &json!({"password": "two"}));
    let changed = vault.read_if_changed(&at, secret.version()).await.unwrap().unwrap();
    assert_eq!(expose(&changed, "password"), "two");
    let (kind, message) = error(&vault, "vault://kv1/orders?version=1").await;
    assert_eq!(kind, ErrorKind::Config, "{message}");
}

#[tokio::test]
async fn an_older_version_is_read_once_and_never_polled() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    bao.kv_put("secret", "a", &json!({"x": "two"}));
    let vault = root(&bao);
    let at = reference("vault://secret/a?version=1");
    let old = vault.read(&at).await.unwrap();
    assert_eq!((expose(&old, "x").as_str(), old.version().as_str()), ("one", "1"));
    let mark = bao.mark();
    assert!(vault.read_if_changed(&at, old.version()).await.unwrap().is_none());
    assert_eq!(bao.requests_since(mark).len(), 0);
    let (kind, message) = error(&vault, "vault://secret/a?version=9").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("no version 9"), "{message}");
}

#[tokio::test]
async fn a_deleted_a_destroyed_and_a_missing_secret_are_told_apart() {
    let bao = OpenBao::start();
    let vault = root(&bao);
    let at = reference("vault://secret/a");
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    let one = vault.read(&at).await.unwrap();

    bao.kv_delete("secret", "a");
    let (kind, message) = error(&vault, "vault://secret/a").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("version 1 was deleted") && message.contains("undelete"), "{message}");
    let polled = vault.read_if_changed(&at, one.version()).await.unwrap_err();
    assert!(polled.to_string().contains("version 1 was deleted"), "{polled}");

    bao.write("secret/undelete/a", &json!({"versions": [1]}));
    assert!(vault.read_if_changed(&at, one.version()).await.unwrap().is_none());

    bao.write("secret/destroy/a", &json!({"versions": [1]}));
    let (_, message) = error(&vault, "vault://secret/a").await;
    assert!(message.contains("version 1 was destroyed"), "{message}");

    bao.delete("secret/metadata/a");
    let (kind, message) = error(&vault, "vault://secret/a").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("no such secret"), "{message}");
}

#[tokio::test]
async fn a_secret_written_anew_under_the_same_version_is_seen() {
    let bao = OpenBao::start();
    let vault = root(&bao);
    let at = reference("vault://secret/a");
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    let one = vault.read(&at).await.unwrap();
    bao.delete("secret/metadata/a");
    bao.kv_put("secret", "a", &json!({"x": "two"}));
    let two = vault.read_if_changed(&at, one.version()).await.unwrap().unwrap();
    assert_eq!(expose(&two, "x"), "two");
    assert!(vault.read_if_changed(&at, two.version()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_version_that_will_be_deleted_says_when() {
    let bao = OpenBao::start();
    bao.write("secret/metadata/a", &json!({"delete_version_after": "1h"}));
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    let vault = root(&bao);
    let secret = vault.read(&reference("vault://secret/a")).await.unwrap();
    let left = secret.upkeep.deadline(None).unwrap().duration_since(jiff::Timestamp::now());
    assert!((3500..=3600).contains(&left.as_secs()), "{left}");
    assert!(vault.read_if_changed(&reference("vault://secret/a"), secret.version()).await.unwrap().is_none());
}

#[tokio::test]
async fn forbidden_metadata_is_asked_for_once() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    let vault = limited(&bao, r#"path "secret/data/*" { capabilities = ["read"] }"#);
    let at = reference("vault://secret/a");
    let one = vault.read(&at).await.unwrap();
    let mark = bao.mark();
    for _ in 0..5 {
        assert!(vault.read_if_changed(&at, one.version()).await.unwrap().is_none());
    }
    assert_eq!(bao.count_since(mark, "secret/metadata"), 1);
    assert_eq!(bao.count_since(mark, "secret/data"), 5);
    bao.kv_put("secret", "a", &json!({"x": "two"}));
    let two = vault.read_if_changed(&at, one.version()).await.unwrap().unwrap();
    assert_eq!(expose(&two, "x"), "two");
}

#[tokio::test]
async fn a_forbidden_path_names_what_the_policy_needs() {
    let bao = OpenBao::start();
    let vault = limited(&bao, r#"path "secret/data/mine" { capabilities = ["read"] }"#);
    let (kind, message) = error(&vault, "vault://secret/orders/db").await;
    assert_eq!(kind, ErrorKind::PermissionDenied);
    assert!(message.contains("`read` on secret/data/orders/db"), "{message}");
    assert!(message.contains("vault://secret/orders/db") && message.contains("status: 403"), "{message}");

    let (kind, message) = error(&vault, "vault://nowhere/a").await;
    assert_eq!(kind, ErrorKind::PermissionDenied);
    assert!(message.contains("find mount") && message.contains("?kv=2"), "{message}");
    let (kind, message) = error(&vault, "vault://nowhere/a?kv=2").await;
    assert_eq!(kind, ErrorKind::PermissionDenied);
    assert!(message.contains("nowhere/data/a"), "{message}");
}

#[tokio::test]
async fn a_stated_version_of_kv_asks_for_no_mount() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": "two"}));
    bao.kv1_put("kv1", "a", &json!({"x": "one"}));
    let vault = root(&bao);
    let mark = bao.mark();
    assert_eq!(expose(&vault.read(&reference("vault://secret/a?kv=2")).await.unwrap(), "x"), "two");
    assert_eq!(expose(&vault.read(&reference("vault://kv1/a?kv=1")).await.unwrap(), "x"), "one");
    assert_eq!(bao.requests_since(mark).len(), 2);
}

#[tokio::test]
async fn a_path_of_the_api_is_recognised() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "orders/db", &json!({"x": "one"}));
    bao.kv_put("secret", "data/real", &json!({"x": "really"}));
    let vault = root(&bao);
    let (kind, message) = error(&vault, "vault://secret/data/orders/db").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("without `data/`: secret/orders/db"), "{message}");
    assert_eq!(expose(&vault.read(&reference("vault://secret/data/real")).await.unwrap(), "x"), "really");
}

#[tokio::test]
async fn a_remounted_engine_is_learned_anew() {
    let bao = OpenBao::start();
    bao.kv1_put("kv1", "a", &json!({"x": "one"}));
    let vault = root(&bao);
    let at = reference("vault://kv1/a");
    vault.read(&at).await.unwrap();
    bao.delete("sys/mounts/kv1");
    assert!(vault.read(&at).await.is_err());
    bao.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "2"}}));
    let secret = vault_support::until("the new mount", async || {
        let written =
            bao.send(keywheel_tests::http::Method::PUT, "kv1/data/a", Some(&json!({"data": {"x": "two"}})));
        (written.status == 200).then_some(())?;
        vault.read(&at).await.ok()
    })
    .await;
    assert_eq!(expose(&secret, "x"), "two");
}

#[tokio::test]
async fn a_mount_deep_in_the_tree_and_odd_names_are_found() {
    let bao = OpenBao::start();
    bao.write("sys/mounts/team/a/kv", &json!({"type": "kv", "options": {"version": "1"}}));
    bao.write("sys/mounts/team/b", &json!({"type": "kv", "options": {"version": "1"}}));
    let vault = root(&bao);
    for (path, sent) in [
        ("team/a/kv/x", "team/a/kv/x"),
        ("team/b/x", "team/b/x"),
        ("team/b/with space/zażółć", "team/b/with%20space/za%C5%BC%C3%B3%C5%82%C4%87"),
        ("team/b/what%3F%23", "team/b/what%3F%23"),
        ("team/b/100%25", "team/b/100%25"),
    ] {
        bao.write(sent, &json!({"at": path}));
        let secret = vault.read(&reference(&format!("vault://{path}"))).await.unwrap();
        assert_eq!(expose(&secret, "at"), path);
    }
}

#[tokio::test]
async fn a_reference_never_writes_to_a_store() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": "1"}));
    bao.kv1_put("kv1", "a", &json!({"x": "1"}));
    let vault = root(&bao);
    for path in ["vault://secret/a?x=2", "vault://kv1/a?x=2", "vault://cubbyhole/a?x=2"] {
        let (kind, message) = error(&vault, path).await;
        assert_eq!(kind, ErrorKind::Config);
        assert!(message.contains("would replace the secret"), "{message}");
    }
    assert_eq!(expose(&vault.read(&reference("vault://kv1/a")).await.unwrap(), "x"), "1");
}

#[tokio::test]
async fn a_namespace_is_its_own_tree() {
    let bao = OpenBao::start();
    bao.write("sys/namespaces/team-a", &json!({}));
    bao.write("team-a/sys/mounts/kv", &json!({"type": "kv", "options": {"version": "1"}}));
    bao.write("team-a/kv/a", &json!({"x": "ours"}));
    let token = ("VAULT_TOKEN", bao.root_token());
    let vault = provider(&bao, &[token, ("VAULT_NAMESPACE", "team-a/")]);
    assert_eq!(expose(&vault.read(&reference("vault://kv/a")).await.unwrap(), "x"), "ours");
    let (kind, message) =
        error(&provider(&bao, &[token, ("VAULT_NAMESPACE", "team-z")]), "vault://kv/a").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("namespace"), "{message}");
}

#[tokio::test]
async fn references_are_checked_without_a_server() {
    let vault = vault_support::from_environment([("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", "t")]);
    for good in ["vault://secret/a", "vault:///secret/a/", "vault://secret/a?kv=2&version=3"] {
        vault.validate(&reference(good)).unwrap();
    }
    for bad in [
        "vault://secret",
        "vault://secret//a",
        "vault://secret/a?kv=3",
        "vault://secret/a?version=0",
        "vault://secret/a?version=x",
        "vault://secret/a?kv=1&version=1",
        "vault://secret/a?kv=2&ttl=1h",
        "vault://secret/a?wrapped=token",
        "vault://secret/a?wrapped=/token&ttl=1h",
    ] {
        let error = vault.validate(&reference(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{bad}: {error}");
    }
}
