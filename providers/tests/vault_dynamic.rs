//! Accounts of a real PostgreSQL that a real OpenBao server makes, and their leases.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::layer::{Budget, BudgetLimits};
use keywheel_core::lease::{Lease, Term};
use keywheel_core::registry::Context;
use keywheel_core::{ErrorKind, Provider, Secret, SecretRef, Upkeep};
use keywheel_tests::{OpenBao, Postgres, Signal};
use serde_json::json;
use vault_support::{context, expose, lease, leases, logging_in_with, provider, reference, until};

/// A server whose database engine makes accounts of `postgres`: of the role `app`, for ten minutes and at most an hour.
struct Stage {
    bao: OpenBao,
    postgres: Postgres,
}

impl Stage {
    fn new() -> Self {
        let (bao, postgres) = (OpenBao::start(), Postgres::start());
        bao.enable_database(&postgres);
        bao.dynamic_role("app", TEN_MINUTES, Duration::from_secs(3600));
        Self { bao, postgres }
    }

    fn provider(&self) -> Arc<dyn Provider> {
        provider(&self.bao, &[("VAULT_TOKEN", self.bao.root_token())])
    }

    fn log_in(&self, account: &Secret) -> Result<(), String> {
        let (user, password) = (expose(account, "username"), expose(account, "password"));
        self.postgres.login(&user, &password, Duration::from_secs(10))
    }

    /// Returns when the server ends a lease.
    fn end(&self, lease: &Lease) -> Timestamp {
        let found = self.bao.lease(&lease.id).unwrap();
        found["expire_time"].as_str().unwrap().parse().unwrap()
    }
}

fn app() -> SecretRef {
    reference("vault://database/creds/app")
}

/// Asserts that `term` ends at `end` or by less than `early` seconds before.
fn assert_ends(term: &Term, end: Timestamp, early: f64) {
    let before = end.duration_since(term.ends_at().unwrap()).as_secs_f64();
    assert!((0.0..early).contains(&before), "{before} s before the truth: {term:?}");
}

#[tokio::test]
async fn each_read_makes_an_account_and_a_poll_makes_none() {
    let stage = Stage::new();
    let vault = stage.provider();
    let one = vault.read(&app()).await.unwrap();
    stage.log_in(&one).unwrap();
    let first = lease(&one);
    assert!(first.id.starts_with("database/creds/app/"), "{first:?}");
    assert_eq!((first.term.ttl, first.term.renewable, first.term.is_short), (TEN_MINUTES, true, false));
    assert_ends(&first.term, stage.end(&first), 1.0);

    let mark = stage.bao.mark();
    for _ in 0..3 {
        assert!(vault.read_if_changed(&app(), one.version()).await.unwrap().is_none());
    }
    assert_eq!(stage.bao.requests_since(mark).len(), 0);

    let two = vault.read(&app()).await.unwrap();
    assert_ne!(first.id, lease(&two).id);
    assert_ne!((expose(&one, "username"), one.version()), (expose(&two, "username"), two.version()));
    assert_eq!(stage.bao.count_since(mark, "database/creds"), 1);
    let parent = leases(&vault).parent(&first).unwrap();
    assert!(!parent.borrow().superseded);
}

#[tokio::test]
async fn a_renewal_extends_a_lease_until_the_end_of_all_renewals() {
    let stage = Stage::new();
    stage.bao.dynamic_role("brief", Duration::from_secs(5), Duration::from_secs(9));
    let vault = stage.provider();
    let mut lease = lease(&vault.read(&reference("vault://database/creds/brief")).await.unwrap());
    let first_end = stage.end(&lease);
    lease.term = until("a renewal that adds a second", async || {
        let term = leases(&vault).renew(&lease).await.unwrap();
        assert!(!term.is_short, "{term:?}");
        assert_ends(&term, stage.end(&lease), 1.0);
        (stage.end(&lease).duration_since(first_end) > SignedDuration::from_secs(1)).then_some(term)
    })
    .await;
    lease.term = until("a renewal that grants less", async || {
        let term = leases(&vault).renew(&lease).await.unwrap();
        term.is_short.then_some(term)
    })
    .await;
    assert_ends(&lease.term, stage.end(&lease), 0.5);
    // The end of all renewals does not move, whoever asks and how often.
    let last = lease.term.ends_at();
    for term in [leases(&vault).look_up(&lease).await.unwrap(), leases(&vault).renew(&lease).await.unwrap()] {
        let moved = term.ends_at().unwrap().duration_since(last.unwrap()).as_secs_f64().abs();
        assert!(moved < 0.5, "{moved}: {term:?}");
        assert!(term.is_short, "{term:?}");
    }
}

#[tokio::test]
async fn a_look_finds_what_somebody_did_to_a_lease_and_changes_nothing() {
    let stage = Stage::new();
    let vault = stage.provider();
    let mut lease = lease(&vault.read(&app()).await.unwrap());
    assert_eq!(leases(&vault).look_up(&lease).await.unwrap(), lease.term);

    stage.bao.shorten_lease(&lease.id, Duration::from_secs(30));
    let shortened = leases(&vault).look_up(&lease).await.unwrap();
    assert_ends(&shortened, stage.end(&lease), 1.1);
    assert!(shortened.renewable && shortened.wanted == TEN_MINUTES, "{shortened:?}");
    lease.term = shortened;
    let renewed = leases(&vault).renew(&lease).await.unwrap();
    assert_eq!((renewed.ttl, renewed.is_short), (TEN_MINUTES, false));

    stage.bao.revoke_lease(&lease.id);
    for error in [leases(&vault).look_up(&lease).await, leases(&vault).renew(&lease).await] {
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::NotFound, false), "{error}");
    }
}

#[tokio::test]
async fn a_lease_that_is_given_back_ends_its_account() {
    let stage = Stage::new();
    let vault = stage.provider();
    let (one, two) = (vault.read(&app()).await.unwrap(), vault.read(&app()).await.unwrap());
    leases(&vault).revoke(&lease(&one)).await.unwrap();
    until("the account to end", async || stage.log_in(&one).is_err().then_some(())).await;
    stage.log_in(&two).unwrap();
    assert_eq!(stage.bao.leases("database/creds/app"), [lease(&two).id]);
    leases(&vault).revoke(&lease(&one)).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_away_takes_no_lease_away() {
    let stage = Stage::new();
    let vault = stage.provider();
    let lease = lease(&vault.read(&app()).await.unwrap());
    stage.postgres.process().end_by(Signal::QUIT, Duration::from_secs(30));
    let error = leases(&vault).renew(&lease).await.unwrap_err();
    assert!(error.is_temporary() && error.kind() != ErrorKind::NotFound, "{error}");
    assert_eq!(leases(&vault).look_up(&lease).await.unwrap(), lease.term);
    let error = vault.read(&app()).await.unwrap_err();
    assert!(error.is_temporary() && error.kind() != ErrorKind::NotFound, "{error}");
    assert!(!error.to_string().contains(stage.postgres.admin_password()), "{error}");
}

#[tokio::test]
async fn a_role_that_is_not_there_and_one_that_is_forbidden_are_told_apart() {
    let stage = Stage::new();
    let vault = stage.provider();
    let error = vault.read(&reference("vault://database/creds/none")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::NotFound, false), "{error}");
    assert!(error.to_string().contains("no such role"), "{error}");
    assert!(error.to_string().contains("database/creds/none"), "{error}");

    stage.bao.policy("other", r#"path "database/creds/other" { capabilities = ["read"] }"#);
    let token = stage.bao.token(&json!({"policies": ["other"], "no_parent": true}));
    let vault = provider(&stage.bao, &[("VAULT_TOKEN", &token.token)]);
    let error = vault.read(&app()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::PermissionDenied, false), "{error}");
    assert!(error.to_string().contains("`read` on database/creds/app"), "{error}");
}

#[tokio::test]
async fn a_policy_that_forbids_to_tend_to_leases_is_named() {
    let stage = Stage::new();
    stage.bao.policy("creds", r#"path "database/creds/*" { capabilities = ["read"] }"#);
    let body = json!({"policies": ["creds"], "no_parent": true, "no_default_policy": true});
    let vault = provider(&stage.bao, &[("VAULT_TOKEN", &stage.bao.token(&body).token)]);
    let lease = lease(&vault.read(&app()).await.unwrap());
    for (error, path) in [
        (leases(&vault).renew(&lease).await.map(drop), "`update` on sys/leases/renew"),
        (leases(&vault).look_up(&lease).await.map(drop), "`update` on sys/leases/lookup"),
        (leases(&vault).revoke(&lease).await, "`update` on sys/leases/revoke"),
    ] {
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::PermissionDenied, false), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    assert!(stage.bao.lease(&lease.id).is_some());
}

/// Returns the context of a provider that makes at most `mints` new values of a secret in an hour.
fn sparing(mints: u32) -> Context {
    let base = context();
    let limits = BudgetLimits { mints_per_hour: mints, ..BudgetLimits::default() };
    Context { budget: Arc::new(Budget::new(limits, base.clock.clone())), ..base }
}

#[tokio::test]
async fn no_more_accounts_are_made_than_the_budget_has() {
    let stage = Stage::new();
    let auth = format!("   token: {}\n", stage.bao.root_token());
    let vault = logging_in_with(&stage.bao, &auth, sparing(1));
    vault.read(&app()).await.unwrap();
    let mark = stage.bao.mark();
    let error = vault.read(&app()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::RateLimited, true), "{error}");
    assert!(error.to_string().contains("budget.mints_per_hour"), "{error}");
    // Not in an hour, but in time for the end of one that lives for ten minutes.
    let wait = error.retry_after().unwrap().as_secs();
    assert!((290..=300).contains(&wait), "{wait}");
    assert_eq!(stage.bao.requests_since(mark).len(), 0);
}

#[tokio::test]
async fn a_static_role_changes_when_its_password_does() {
    let stage = Stage::new();
    stage.bao.static_role(&stage.postgres, "fixed", "fixed", Duration::from_secs(3600));
    let vault = stage.provider();
    let at = reference("vault://database/static-creds/fixed");
    let one = vault.read(&at).await.unwrap();
    stage.log_in(&one).unwrap();
    let Upkeep::Turn { at: turn, period } = one.upkeep else { panic!("{:?}", one.upkeep) };
    assert_eq!(period, Duration::from_secs(3600));
    let left = turn.duration_since(Timestamp::now()).as_secs();
    assert!((3580..=3600).contains(&left), "{left}");

    let ttl = expose(&one, "ttl");
    until("a second to pass", async || {
        let same = vault.read(&at).await.unwrap();
        assert_eq!(same.version(), one.version());
        (expose(&same, "ttl") != ttl).then_some(())
    })
    .await;
    assert!(vault.read_if_changed(&at, one.version()).await.unwrap().is_none());

    stage.bao.rotate_static_role("fixed");
    let two = vault.read_if_changed(&at, one.version()).await.unwrap().unwrap();
    assert_ne!(expose(&one, "password"), expose(&two, "password"));
    stage.log_in(&two).unwrap();
    assert!(vault.read_if_changed(&at, two.version()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_makes_nothing_is_polled_as_often_as_it_has_to_be() {
    let stage = Stage::new();
    stage.bao.static_role(&stage.postgres, "fixed", "fixed", Duration::from_secs(3600));
    let auth = format!("   token: {}\n", stage.bao.root_token());
    let vault = logging_in_with(&stage.bao, &auth, sparing(1));
    for path in ["vault://database/static-creds/fixed", "vault://database/config/pg"] {
        let secret = vault.read(&reference(path)).await.unwrap();
        for _ in 0..30 {
            assert!(vault.read_if_changed(&reference(path), secret.version()).await.unwrap().is_none());
        }
    }
}

const TEN_MINUTES: Duration = Duration::from_secs(600);
