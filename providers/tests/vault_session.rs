//! Tokens and the leases that hang on them, at a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::provider::Ending;
use keywheel_core::registry::Context;
use keywheel_core::{ErrorKind, Provider, SecretRef};
use keywheel_tests::faults::{Fault, Faults};
use keywheel_tests::openbao::Mark;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use vault_support::{Accounts, configured, context, leases, logging_in_with, maintained, reference, until};

fn forbidden() -> SecretRef {
    reference("vault://secret/forbidden?kv=2")
}

/// Reads what the policy forbids `count` times.
async fn refused(vault: &Arc<dyn Provider>, count: usize) {
    for _ in 0..count {
        let error = vault.read(&forbidden()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::PermissionDenied, false), "{error}");
        assert!(error.to_string().contains("`read` on secret/data/forbidden"), "{error}");
    }
}

/// Returns the accessors of all tokens that came with a request since `mark`.
fn users(stage: &Accounts, mark: Mark) -> BTreeSet<String> {
    stage.bao.requests_since(mark).into_iter().filter_map(|seen| seen.accessor).collect()
}

/// A token that is replaced after about four of its eight seconds, because no renewal can be had in full.
fn brief() -> Value {
    json!({"token_ttl": "6s", "token_max_ttl": "8s"})
}

#[tokio::test]
async fn a_token_that_somebody_revokes_is_replaced_once_and_its_leases_are_gone() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let vault = stage.provider();
    let mut minted = Vec::new();
    for _ in 0..3 {
        minted.push(stage.mint(&vault).await);
    }
    let parents: Vec<_> = minted.iter().map(|(_, lease)| leases(&vault).parent(lease).unwrap()).collect();
    assert!(parents.iter().all(|parent| !parent.borrow().superseded && parent.borrow().ends_at.is_some()));
    let accessor = stage.accessor(&vault).await;
    stage.bao.write("auth/token/revoke-accessor", &json!({"accessor": accessor}));
    until("the accounts to end", async || minted.iter().all(|(one, _)| !stage.works(one)).then_some(()))
        .await;

    let mark = stage.bao.mark();
    let mut asked = JoinSet::new();
    for (_, lease) in &minted {
        let (vault, lease) = (Arc::clone(&vault), lease.clone());
        asked.spawn(async move { leases(&vault).look_up(&lease).await.map(drop).unwrap_err() });
    }
    for error in asked.join_all().await {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert_eq!(stage.logins(mark), 1);
    assert!(parents.iter().all(|parent| parent.borrow().superseded));
    for (_, lease) in &minted {
        leases(&vault).revoke(lease).await.unwrap();
        assert!(leases(&vault).parent(lease).is_none(), "the old token is nobody's any more");
    }
    let (account, lease) = stage.mint(&vault).await;
    assert!(stage.works(&account) && lease.holder != minted[0].1.holder);
}

#[tokio::test]
async fn a_replaced_token_is_given_back_with_the_last_of_its_leases() {
    let stage = Accounts::new(&brief());
    let vault = stage.provider();
    let ((one, first), (two, second)) = (stage.mint(&vault).await, stage.mint(&vault).await);
    let begun = Instant::now();
    let old = stage.accessor(&vault).await;
    let maintained = maintained(&vault);
    let mut parent = leases(&vault).parent(&first).unwrap();
    tokio::time::timeout(BRIEF, parent.wait_for(|parent| parent.superseded)).await.unwrap().unwrap();
    let (_, third) = stage.mint(&vault).await;
    assert_ne!(third.holder, first.holder);
    assert!(leases(&vault).parent(&second).unwrap().borrow().superseded);
    assert!(!leases(&vault).parent(&third).unwrap().borrow().superseded);

    leases(&vault).revoke(&first).await.unwrap();
    assert!(stage.lives(&old) && stage.works(&two), "another lease hangs on it");
    leases(&vault).revoke(&second).await.unwrap();
    assert!(!stage.lives(&old));
    assert!(begun.elapsed() < BRIEF, "it would have ended by itself");
    until("its accounts to end", async || (!stage.works(&one) && !stage.works(&two)).then_some(())).await;
    assert!(stage.bao.lease(&third.id).is_some());
    assert!(!maintained.is_finished());
    maintained.abort();
}

#[tokio::test]
async fn a_replaced_token_without_leases_is_given_back_at_once_and_the_new_one_remembered() {
    let stage = Accounts::new(&brief());
    let context = context();
    let vault = logging_in_with(&stage.bao, &stage.auth("orders"), context.clone());
    let mark = stage.bao.mark();
    let old = stage.accessor(&vault).await;
    let begun = Instant::now();
    let maintained = maintained(&vault);
    until("another login", async || (stage.logins(mark) == 2).then_some(())).await;
    until("the old token's end", async || (!stage.lives(&old)).then_some(())).await;
    assert!(begun.elapsed() < BRIEF, "it would have ended by itself");
    let new = stage.accessor(&vault).await;
    assert_ne!(new, old);
    maintained.abort();
    assert!(maintained.await.unwrap_err().is_cancelled());

    vault.close(Ending::Keep).await.unwrap();
    let next = logging_in_with(&stage.bao, &stage.auth("orders"), context);
    assert_eq!(stage.accessor(&next).await, new);
    assert_eq!(stage.logins(mark), 2);
}

#[tokio::test]
async fn a_token_is_not_given_back_while_a_lease_is_made_with_it() {
    let stage = Accounts::new(&brief());
    let role = json!({
        "db_name": "pg",
        "default_ttl": "1h",
        "creation_statements": [
            // Longer than until the token is replaced, and shorter than until it ends.
            "SELECT pg_sleep(6)",
            r#"CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#,
        ],
    });
    stage.bao.write("database/roles/app", &role);
    let patient = Context { timeout: Duration::from_secs(30), ..context() };
    let vault = logging_in_with(&stage.bao, &stage.auth("orders"), patient);
    let mark = stage.bao.mark();
    let old = stage.accessor(&vault).await;
    let maintained = maintained(&vault);
    let (account, lease) = stage.mint(&vault).await;
    assert_eq!(stage.logins(mark), 2, "the token was replaced meanwhile");
    assert!(stage.works(&account));
    assert!(leases(&vault).parent(&lease).unwrap().borrow().superseded);
    leases(&vault).revoke(&lease).await.unwrap();
    assert!(!stage.lives(&old));
    maintained.abort();
}

#[tokio::test]
async fn a_forbidden_path_costs_one_trial_login_and_no_lease() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let vault = stage.provider();
    let (account, lease) = stage.mint(&vault).await;
    let token = stage.accessor(&vault).await;
    let mark = stage.bao.mark();
    refused(&vault, 20).await;
    assert_eq!(stage.logins(mark), 1);
    assert!(stage.bao.count_since(mark, "auth/token/lookup-self") <= 2);
    let mut others = users(&stage, mark);
    assert!(others.remove(&token) && others.len() == 1, "{others:?}");
    assert!(others.iter().all(|other| !stage.lives(other)), "the token on trial is given back");
    assert_eq!(stage.accessor(&vault).await, token);
    assert!(!leases(&vault).parent(&lease).unwrap().borrow().superseded);
    assert!(stage.works(&account));
}

#[tokio::test]
async fn a_token_that_may_not_look_at_itself_is_tried_no_more_often() {
    let stage = Accounts::new(&json!({"token_ttl": "10m", "token_no_default_policy": true}));
    let vault = stage.provider();
    let (account, lease) = stage.mint(&vault).await;
    let token = stage.accessor(&vault).await;
    let mark = stage.bao.mark();
    refused(&vault, 20).await;
    assert!(stage.logins(mark) <= 1, "{} logins", stage.logins(mark));
    assert_eq!(stage.accessor(&vault).await, token);
    assert!(!leases(&vault).parent(&lease).unwrap().borrow().superseded);
    assert!(stage.works(&account));
}

#[tokio::test]
async fn a_trial_that_the_server_does_not_answer_changes_nothing() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let faults = Faults::before(&stage.bao.plain_address());
    for fault in [Fault::Sealed, Fault::Cut, Fault::TooManyRequests { retry_after: 1 }] {
        let vault =
            configured(&format!("  address: {}\n  auth:\n{}", faults.address(), stage.auth("orders")));
        let (_, lease) = stage.mint(&vault).await;
        let token = stage.accessor(&vault).await;
        let mark = stage.bao.mark();
        faults.show_after(1, "/v1/secret/data/forbidden", fault.clone());
        let error = vault.read(&forbidden()).await.unwrap_err();
        assert!(error.is_temporary(), "{fault:?}: {error}");
        faults.heal();
        assert_eq!(stage.logins(mark), 1, "{fault:?}");
        assert_eq!(stage.accessor(&vault).await, token, "{fault:?}");
        assert!(!leases(&vault).parent(&lease).unwrap().borrow().superseded, "{fault:?}");
        let mut others = users(&stage, mark);
        assert!(others.remove(&token), "{others:?}");
        // The server may not have seen the token yet.
        assert!(others.iter().all(|other| !stage.lives(other)), "{fault:?}: {others:?}");
        vault.close(Ending::Revoke).await.unwrap();
        until("the leases to end", async || stage.bao.leases("database/creds/app").is_empty().then_some(()))
            .await;
        assert_eq!(tokens(&stage), 0, "{fault:?}: a token was left behind");
    }
}

/// Counts the tokens of jwt logins that live.
fn tokens(stage: &Accounts) -> usize {
    let answer = stage.bao.read("auth/token/accessors?list=true").unwrap();
    let accessors = answer["data"]["keys"].as_array().unwrap().clone();
    let is_jwt = |accessor: &Value| {
        let body = json!({"accessor": accessor});
        let found =
            stage.bao.send(keywheel_tests::http::Method::POST, "auth/token/lookup-accessor", Some(&body));
        found.status == 200 && found.json()["data"]["path"] == "auth/jwt/login"
    };
    accessors.iter().filter(|accessor| is_jwt(accessor)).count()
}

#[tokio::test]
async fn logins_that_fail_do_not_cost_the_token_that_lives() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    #[allow(clippy::disallowed_methods, reason = "the test plays the kubelet")]
    let write = |valid| std::fs::write(&file, stage.issuer.token(&stage.account, valid)).unwrap();
    write(0..600);
    let auth = format!("   method: jwt\n   role: orders\n   token_file: {}\n", file.display());
    let vault = logging_in_with(&stage.bao, &auth, context());
    let (_, lease) = stage.mint(&vault).await;
    let token = stage.accessor(&vault).await;
    write(-600..-10);
    refused(&vault, 5).await;
    write(0..600);
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        refused(&vault, 1).await;
    }
    assert_eq!(stage.accessor(&vault).await, token);
    assert!(!leases(&vault).parent(&lease).unwrap().borrow().superseded);
}

#[tokio::test]
async fn what_the_role_gives_since_the_login_is_had_by_a_trial() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    stage.bao.kv_put("secret", "forbidden", &json!({"x": "now"}));
    let faults = Faults::before(&stage.bao.plain_address());
    let vault = configured(&format!("  address: {}\n  auth:\n{}", faults.address(), stage.auth("orders")));
    let (_, lease) = stage.mint(&vault).await;
    let parent = leases(&vault).parent(&lease).unwrap();
    let token = stage.accessor(&vault).await;
    stage.bao.policy("more", r#"path "secret/data/forbidden" { capabilities = ["read"] }"#);
    stage.role("orders", &json!({"token_policies": ["app", "more"]}));
    let mark = stage.bao.mark();
    for _ in 0..5 {
        vault.read(&forbidden()).await.unwrap();
    }
    assert_eq!(stage.logins(mark), 1);
    assert!(parent.borrow().superseded && stage.lives(&token), "its lease lives on");
    assert_ne!(stage.accessor(&vault).await, token);

    faults.show_at("/v1/auth/token/revoke-self", Fault::Sealed);
    for _ in 0..2 {
        let error = leases(&vault).revoke(&lease).await.unwrap_err();
        assert!(error.is_temporary(), "{error}");
    }
    faults.heal();
    leases(&vault).revoke(&lease).await.unwrap();
    assert!(!stage.lives(&token), "nobody was told that it was given back before it was");
}

/// The longest life of a [`brief`] token, and a margin less.
const BRIEF: Duration = Duration::from_millis(7500);
