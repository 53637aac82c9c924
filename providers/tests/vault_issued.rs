//! Values that engines of a real OpenBao server make when they are written to, and other paths than KV's.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::{ErrorKind, Provider, Secret, Upkeep, Version};
use keywheel_tests::OpenBao;
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::json;
use vault_support::{expose, lease, leases, logging_in, provider, reference};

/// A server that issues certificates for half an hour, and signs and encrypts.
fn server() -> OpenBao {
    let bao = OpenBao::start();
    bao.enable_pki();
    bao.pki_role("web", Duration::from_secs(1800));
    bao.write("sys/mounts/transit", &json!({"type": "transit"}));
    bao.write("transit/keys/k", &json!({}));
    bao
}

fn root(bao: &OpenBao) -> Arc<dyn Provider> {
    provider(bao, &[("VAULT_TOKEN", bao.root_token())])
}

async fn read(vault: &Arc<dyn Provider>, text: &str) -> Secret {
    vault.read(&reference(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn error(vault: &Arc<dyn Provider>, text: &str) -> (ErrorKind, String) {
    let error = vault.read(&reference(text)).await.unwrap_err();
    assert!(!error.is_temporary(), "{error}");
    (error.kind(), error.to_string())
}

/// Asserts that polls of what a read makes anew find no change and ask nobody.
async fn assert_kept(bao: &OpenBao, vault: &Arc<dyn Provider>, text: &str, version: &Version) {
    let mark = bao.mark();
    for _ in 0..3 {
        assert!(vault.read_if_changed(&reference(text), version).await.unwrap().is_none());
    }
    assert_eq!(bao.requests_since(mark).len(), 0);
}

/// Asserts that a value was made just now and ends after `span`.
fn assert_lasts(upkeep: &Upkeep, span: u64) {
    let Upkeep::Expiry { began_at, ends_at } = upkeep else { panic!("{upkeep:?}") };
    let (age, life) = (Timestamp::now().duration_since(*began_at), ends_at.duration_since(*began_at));
    assert!((0..30).contains(&age.as_secs()), "{upkeep:?}");
    assert!(life.as_secs().abs_diff(i64::try_from(span).unwrap()) <= 1, "{upkeep:?}");
}

#[tokio::test]
async fn a_certificate_is_issued_with_its_key_and_its_end() {
    let bao = server();
    let vault = root(&bao);
    let at =
        "vault://pki/issue/web?common_name=web.example.com&alt_names=a.example.com%2Cb.example.com&ttl=600";
    let one = read(&vault, at).await;
    for field in ["certificate", "private_key", "issuing_ca", "ca_chain", "serial_number"] {
        assert!(one.fields().contains_key(field), "{field}: {:?}", one.fields());
    }
    let certificate = CertificateDer::from_pem_slice(expose(&one, "certificate").as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(expose(&one, "private_key").as_bytes()).unwrap();
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(vec![certificate.clone()], key, &crypto).unwrap().keys_match().unwrap();
    let holds = |text: &str| certificate.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("web.example.com") && holds("b.example.com"));

    assert_lasts(&one.upkeep, 600);
    let end = one.upkeep.deadline(None).unwrap();
    assert_eq!(expose(&one, "expiration"), end.as_second().to_string());
    // As the certificate itself says it: UTCTime (RFC 5280, section 4.1.2.5.1).
    let not_after = end.strftime("%y%m%d%H%M%SZ").to_string();
    assert!(holds(&not_after), "{not_after}");
    assert_eq!(one.version().as_str(), expose(&one, "serial_number"));
    assert_kept(&bao, &vault, at, one.version()).await;

    let two = read(&vault, at).await;
    assert_ne!(one.version(), two.version());
    assert_lasts(&read(&vault, "vault://pki/issue/web?common_name=a").await.upkeep, 1800);
}

#[tokio::test]
async fn a_certificate_with_a_lease_is_revoked_with_it() {
    let bao = server();
    let role = json!({"allow_any_name": true, "generate_lease": true, "key_type": "ec", "ttl": "20m"});
    bao.write("pki/roles/leased", &role);
    let vault = root(&bao);
    let issued = read(&vault, "vault://pki/issue/leased?common_name=web.example.com").await;
    let lease = lease(&issued);
    assert!(!lease.term.renewable && lease.term.ttl.as_secs().abs_diff(1200) <= 10, "{lease:?}");
    let error = leases(&vault).renew(&lease).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unsupported, false), "{error}");
    leases(&vault).revoke(&lease).await.unwrap();
    let path = format!("pki/cert/{}", expose(&issued, "serial_number").replace(':', "-"));
    vault_support::until("the revocation", async || {
        let found = bao.read(&path).unwrap();
        found["data"]["revocation_time"].as_u64().filter(|at| *at > 0)
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_a_reference_is_named() {
    let bao = server();
    let vault = root(&bao);
    for (text, kind, part) in [
        (
            "vault://pki/issue/web",
            ErrorKind::Unsupported,
            "takes parameters, as in vault://pki/issue/web?common_name=",
        ),
        ("vault://pki/issue/web?ttl=1h", ErrorKind::Invalid, "check the reference's parameters"),
        ("vault://pki/issue/none?common_name=a", ErrorKind::NotFound, "no such role"),
        ("vault://transit/keys/none", ErrorKind::NotFound, "no such secret"),
        ("vault://transit/keys/k?version=1", ErrorKind::Config, "KV version 2"),
        ("vault://transit/keys/k/config?min_encryption_version=9", ErrorKind::Invalid, "check the reference"),
        ("vault://sys/audit-hash/requests?input=", ErrorKind::Invalid, "check the reference"),
        (
            "vault://sys/policies/acl/new?policy=path%20%22a%22%20%7B%7D",
            ErrorKind::Invalid,
            "holds no fields",
        ),
    ] {
        let (found, message) = error(&vault, text).await;
        assert_eq!(found, kind, "{text}: {message}");
        let path = text.split('?').next().unwrap();
        assert!(message.contains(part) && message.contains(path), "{text}: {message}");
    }
    bao.policy("reader", r#"path "pki/issue/other" { capabilities = ["update"] }"#);
    let token = bao.token(&json!({"policies": ["reader"], "no_parent": true}));
    let vault = provider(&bao, &[("VAULT_TOKEN", &token.token)]);
    let (kind, message) = error(&vault, "vault://pki/issue/web?common_name=a").await;
    assert_eq!(kind, ErrorKind::PermissionDenied, "{message}");
    assert!(message.contains("`update` on pki/issue/web"), "{message}");
}

#[tokio::test]
async fn what_has_no_end_is_made_once() {
    let bao = server();
    let vault = root(&bao);
    let at = "vault://transit/datakey/plaintext/k?bits=256";
    let one = read(&vault, at).await;
    assert_eq!(one.upkeep, Upkeep::Once);
    assert!(one.fields().contains_key("plaintext") && one.fields().contains_key("ciphertext"));
    assert_kept(&bao, &vault, at, one.version()).await;
    assert_ne!(read(&vault, at).await.version(), one.version());
}

#[tokio::test]
async fn what_is_made_for_a_time_that_the_reference_says_ends_then() {
    let bao = server();
    bao.write("sys/mounts/ssh", &json!({"type": "ssh"}));
    bao.write("ssh/config/ca", &json!({"generate_signing_key": true}));
    let role = json!({
        "key_type": "ca",
        "allow_user_certificates": true,
        "allowed_users": "*",
        "default_user": "ann",
        "max_ttl": "2h",
    });
    bao.write("ssh/roles/ann", &role);
    let vault = root(&bao);
    for ttl in ["600", "10m", "600s"] {
        let at = format!("vault://ssh/issue/ann?key_type=ed25519&ttl={ttl}");
        let issued = read(&vault, &at).await;
        assert!(issued.fields().contains_key("signed_key"), "{:?}", issued.fields());
        assert_lasts(&issued.upkeep, 600);
        assert_kept(&bao, &vault, &at, issued.version()).await;
    }
}

#[tokio::test]
async fn an_identity_token_ends_after_its_ttl() {
    let bao = server();
    let (issuer, account) = (Issuer::generate(), ServiceAccount::new("shop", "orders"));
    bao.enable_jwt("jwt", &issuer);
    bao.policy("oidc", r#"path "identity/oidc/token/shop" { capabilities = ["read"] }"#);
    bao.jwt_role("jwt", "orders", &account, &json!({"token_policies": ["oidc"]}));
    bao.write("identity/oidc/key/k", &json!({"allowed_client_ids": "*"}));
    bao.write("identity/oidc/role/shop", &json!({"key": "k", "ttl": "15m"}));
    let auth = format!("   method: jwt\n   role: orders\n   token: {}\n", issuer.token(&account, 0..600));
    let vault = logging_in(&bao, &auth);
    let at = "vault://identity/oidc/token/shop";
    let one = read(&vault, at).await;
    assert!(expose(&one, "token").starts_with("eyJ"));
    assert_lasts(&one.upkeep, 900);
    assert_kept(&bao, &vault, at, one.version()).await;
}

#[tokio::test]
async fn what_a_read_does_not_change_is_polled() {
    let bao = server();
    let vault = root(&bao);
    let at = "vault://transit/keys/k";
    let one = read(&vault, at).await;
    assert_eq!(one.upkeep, Upkeep::Poll { ends_at: None });
    assert!(vault.read_if_changed(&reference(at), one.version()).await.unwrap().is_none());
    bao.write("transit/keys/k/rotate", &json!({}));
    let two = vault.read_if_changed(&reference(at), one.version()).await.unwrap().unwrap();
    assert_eq!(expose(&two, "latest_version"), "2");

    let own = read(&vault, "vault://auth/token/lookup-self").await;
    assert_eq!(expose(&own, "display_name"), "root");
    assert_eq!(own.upkeep, Upkeep::Poll { ends_at: None });
}
