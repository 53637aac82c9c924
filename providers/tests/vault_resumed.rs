//! Sessions that outlive their provider, at a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::sync::Arc;

use keywheel_core::lease::Lease;
use keywheel_core::provider::Ending;
use keywheel_core::registry::Context;
use keywheel_core::state::Slot;
use keywheel_core::{ErrorKind, Provider, Secret, SecretValue, State};
use serde_json::json;
use vault_support::{Accounts, configured_with, context, leases, logging_in_with, until};

fn slot() -> Slot {
    State::in_memory().slot("session", "vault")
}

fn with(slot: &Slot) -> Context {
    Context { slot: slot.clone(), ..context() }
}

/// Makes a provider that remembers its session in `slot`, or goes on with it.
fn provider(stage: &Accounts, slot: &Slot) -> Arc<dyn Provider> {
    logging_in_with(&stage.bao, &stage.auth("orders"), with(slot))
}

/// Leaves a session behind, as a process does that is killed: an account with its lease, and the token's accessor.
async fn left(stage: &Accounts, slot: &Slot) -> (Secret, Lease, String) {
    let vault = provider(stage, slot);
    let (account, lease) = stage.mint(&vault).await;
    let accessor = stage.accessor(&vault).await;
    vault.close(Ending::Keep).await.unwrap();
    (account, lease, accessor)
}

async fn ended(stage: &Accounts, account: &Secret) {
    until("the account to end", async || (!stage.works(account)).then_some(())).await;
}

async fn goes_on(stage: &Accounts, slot: &Slot) {
    let (account, lease, accessor) = left(stage, slot).await;
    let mark = stage.bao.mark();
    let vault = provider(stage, slot);
    let term = leases(&vault).renew(&lease).await.unwrap();
    assert!(!term.is_short, "{term:?}");
    let parent = leases(&vault).parent(&lease).unwrap();
    assert!(!parent.borrow().superseded && parent.borrow().ends_at.is_some());
    assert_eq!(stage.accessor(&vault).await, accessor);
    assert_eq!(stage.logins(mark), 0);
    assert!(stage.works(&account));

    vault.close(Ending::Revoke).await.unwrap();
    assert!(!stage.lives(&accessor));
    ended(stage, &account).await;
    assert!(slot.load().await.is_none());
}

#[tokio::test]
async fn a_provider_goes_on_with_the_session_of_the_one_before() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    goes_on(&stage, &slot()).await;
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let directory = folder.path().join("state");
    let state = State::open(&directory).unwrap();
    goes_on(&stage, &state.slot("session", "vault")).await;
}

#[tokio::test]
async fn what_was_left_is_given_back_by_one_that_was_asked_for_nothing() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let slot = slot();
    let (account, _, accessor) = left(&stage, &slot).await;
    let mark = stage.bao.mark();
    provider(&stage, &slot).close(Ending::Revoke).await.unwrap();
    assert!(!stage.lives(&accessor), "a token was left behind");
    ended(&stage, &account).await;
    assert!(slot.load().await.is_none());
    assert_eq!(stage.logins(mark), 0);

    let (account, lease, accessor) = left(&stage, &slot).await;
    let vault = provider(&stage, &slot);
    leases(&vault).revoke(&lease).await.unwrap();
    ended(&stage, &account).await;
    assert!(stage.lives(&accessor), "the token is in use");
}

#[tokio::test]
async fn a_session_of_somebody_else_is_not_taken_over() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    stage.role("other", &json!({"token_ttl": "10m"}));
    let slot = slot();
    let (account, lease, accessor) = left(&stage, &slot).await;
    let record = slot.load().await.unwrap();

    let plain = format!("  address: {}\n  auth:\n{}", stage.bao.plain_address(), stage.auth("orders"));
    for vault in
        [logging_in_with(&stage.bao, &stage.auth("other"), with(&slot)), configured_with(&plain, with(&slot))]
    {
        slot.save(SecretValue::copy_of(record.expose_secret())).await;
        let mark = stage.bao.mark();
        assert_ne!(stage.accessor(&vault).await, accessor);
        assert_eq!(stage.logins(mark), 1);
        assert!(leases(&vault).parent(&lease).is_none());
        vault.close(Ending::Revoke).await.unwrap();
        assert!(stage.lives(&accessor) && stage.works(&account));
    }
}

#[tokio::test]
async fn a_session_that_ended_meanwhile_is_begun_anew() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let slot = slot();
    let (account, lease, accessor) = left(&stage, &slot).await;
    stage.bao.write("auth/token/revoke-accessor", &json!({"accessor": accessor}));
    ended(&stage, &account).await;
    let mark = stage.bao.mark();
    let vault = provider(&stage, &slot);
    let error = leases(&vault).look_up(&lease).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_ne!(stage.accessor(&vault).await, accessor);
    assert_eq!(stage.logins(mark), 1);
    assert!(leases(&vault).parent(&lease).is_none_or(|parent| parent.borrow().superseded));
    leases(&vault).revoke(&lease).await.unwrap();
}

#[tokio::test]
async fn a_token_whose_time_ran_out_meanwhile_is_not_even_tried() {
    let stage = Accounts::new(&json!({"token_ttl": "2s"}));
    let slot = slot();
    let (_, _, accessor) = left(&stage, &slot).await;
    until("the token's end", async || (!stage.lives(&accessor)).then_some(())).await;
    let mark = stage.bao.mark();
    stage.accessor(&provider(&stage, &slot)).await;
    let paths: Vec<_> = stage.bao.requests_since(mark).into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["auth/jwt/login", "secret/data/a"]);
}

#[tokio::test]
async fn a_record_that_is_none_is_passed_over() {
    let stage = Accounts::new(&json!({"token_ttl": "10m"}));
    let slot = slot();
    for record in ["", "c4n4ry", "{}", r#"{"format": 1, "realm": 7}"#, "\u{0}"] {
        slot.save(SecretValue::copy_of(record.as_bytes())).await;
        stage.accessor(&provider(&stage, &slot)).await;
        assert_ne!(slot.load().await.unwrap().expose_secret(), record.as_bytes());
    }
}

#[tokio::test]
async fn a_given_token_stays_and_its_leases_are_given_back() {
    let stage = Accounts::new(&json!({}));
    let token = stage.bao.token(&json!({"policies": ["app"], "no_parent": true, "ttl": "10m"}));
    let auth = format!("   token: {}\n", token.token);
    let slot = slot();
    let vault = logging_in_with(&stage.bao, &auth, with(&slot));
    let (account, _) = stage.mint(&vault).await;
    vault.close(Ending::Revoke).await.unwrap();
    ended(&stage, &account).await;
    assert!(stage.lives(&token.accessor));

    // The same over a restart, once somebody has named the lease.
    let vault = logging_in_with(&stage.bao, &auth, with(&slot));
    let (account, lease) = stage.mint(&vault).await;
    stage.accessor(&vault).await;
    let maintained = vault_support::maintained(&vault);
    until("the record", async || slot.load().await.map(drop)).await;
    maintained.abort();
    vault.close(Ending::Keep).await.unwrap();
    let vault = logging_in_with(&stage.bao, &auth, with(&slot));
    leases(&vault).renew(&lease).await.unwrap();
    assert!(!leases(&vault).parent(&lease).unwrap().borrow().superseded);
    assert!(stage.works(&account));
    vault.close(Ending::Revoke).await.unwrap();
    ended(&stage, &account).await;
    assert!(stage.lives(&token.accessor));
}
