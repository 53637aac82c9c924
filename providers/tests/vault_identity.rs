//! Logins with a client certificate and with a reviewed service-account token, at a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests play the kubelet")]

mod vault_support;

use std::sync::Arc;

use keywheel_core::{ErrorKind, Provider};
use keywheel_tests::certificates::{Authority, Issued};
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use keywheel_tests::{OpenBao, TokenReview};
use serde_json::json;
use vault_support::{configured, expose, logging_in, reference};

fn server() -> OpenBao {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    bao.policy("reader", r#"path "secret/*" { capabilities = ["read"] }"#);
    bao
}

async fn reads(vault: &Arc<dyn Provider>) {
    assert_eq!(expose(&vault.read(&reference("vault://secret/a")).await.unwrap(), "x"), "one");
}

/// Returns the message of the login that fails.
async fn refusal(vault: &Arc<dyn Provider>) -> String {
    let error = vault.read(&reference("vault://secret/a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unauthenticated, false), "{error}");
    assert!(error.to_string().contains("log in"), "{error}");
    error.to_string()
}

fn with_certificate(bao: &OpenBao, issued: &Issued, auth: &str) -> Arc<dyn Provider> {
    configured(&format!(
        "  address: {}\n  ca_file: {}\n  client_cert_file: {}\n  client_key_file: {}\n  auth:\n   method: cert\n{auth}",
        bao.address(),
        bao.ca_file().display(),
        issued.certificate_file.display(),
        issued.key_file.display()
    ))
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let bao = server();
    let folder = tempfile::tempdir().unwrap();
    let clients = Authority::generate();
    let orders = clients.issue_client(folder.path(), "orders");
    let other = clients.issue_client(folder.path(), "other");
    let stranger = Authority::generate().issue_client(folder.path(), "stranger");
    for mount in ["cert", "apps/cert"] {
        bao.write(&format!("sys/auth/{mount}"), &json!({"type": "cert"}));
        for name in ["orders", "billing"] {
            let role = json!({
                "certificate": clients.pem(),
                "allowed_common_names": [name],
                "token_policies": ["reader"],
            });
            bao.write(&format!("auth/{mount}/certs/{name}"), &role);
        }
    }
    reads(&with_certificate(&bao, &orders, "")).await;
    reads(&with_certificate(&bao, &orders, "   role: orders\n")).await;
    reads(&with_certificate(&bao, &orders, "   role: orders\n   mount: /apps/cert/\n")).await;
    for (issued, auth, parts) in [
        (&orders, "   role: billing\n", ["auth/cert", "role: billing"]),
        (&orders, "   role: nobody\n   mount: apps/cert\n", ["auth/apps/cert", "role: nobody"]),
        (&orders, "   mount: nowhere\n", ["auth/nowhere", "no such login"]),
        (&other, "   role: orders\n", ["auth/cert", "role: orders"]),
        (&stranger, "   role: orders\n", ["auth/cert", "role: orders"]),
        (&stranger, "", ["auth/cert", "does not take"]),
    ] {
        let message = refusal(&with_certificate(&bao, issued, auth)).await;
        assert!(parts.iter().all(|part| message.contains(part)), "{auth}: {message}");
    }
}

#[tokio::test]
async fn a_token_that_the_cluster_reviews_logs_in() {
    let bao = server();
    let (issuer, account) = (Issuer::generate(), ServiceAccount::new("shop", "orders"));
    let review = TokenReview::start(&issuer);
    bao.enable_kubernetes("kubernetes", &review);
    bao.enable_kubernetes("clusters/one", &review);
    for mount in ["kubernetes", "clusters/one"] {
        let token = json!({"token_policies": ["reader"], "token_ttl": "10m"});
        bao.kubernetes_role(mount, "orders", &account, &token);
        bao.kubernetes_role(mount, "billing", &ServiceAccount::new("shop", "billing"), &token);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let log_in = |role: &str, mount: &str, token: &str| {
        std::fs::write(&file, token).unwrap();
        let auth =
            format!("   method: kubernetes\n   role: {role}\n   token_file: {}\n{mount}", file.display());
        logging_in(&bao, &auth)
    };
    let good = issuer.token(&account, 0..600);
    reads(&log_in("orders", "", &good)).await;
    reads(&log_in("orders", "   mount: clusters/one/\n", &good)).await;
    assert_eq!(review.reviews(), 2);

    let expired = issuer.token(&account, -600..-10);
    let audience = issuer.token(&ServiceAccount { audience: "other".into(), ..account.clone() }, 0..600);
    let other = issuer.token(&ServiceAccount::new("shop", "other"), 0..600);
    let elsewhere = issuer.token(&ServiceAccount::new("attic", "orders"), 0..600);
    let forged = Issuer::generate().token(&account, 0..600);
    let one = "   mount: clusters/one\n";
    for (role, mount, token, parts) in [
        ("nobody", "", &good, ["auth/kubernetes", "role: nobody"]),
        ("billing", "", &good, ["auth/kubernetes", "role: billing"]),
        ("orders", "   mount: nowhere\n", &good, ["auth/nowhere", "no such login"]),
        ("orders", one, &expired, ["auth/clusters/one", "role: orders"]),
        ("orders", one, &audience, ["auth/clusters/one", "role: orders"]),
        ("orders", "", &other, ["auth/kubernetes", "role: orders"]),
        ("orders", "", &elsewhere, ["auth/kubernetes", "role: orders"]),
        ("orders", "", &forged, ["auth/kubernetes", "role: orders"]),
    ] {
        let message = refusal(&log_in(role, mount, token)).await;
        assert!(parts.iter().all(|part| message.contains(part)), "{role} {parts:?}: {message}");
        assert!(!message.contains("eyJ"), "{message}");
    }
}
