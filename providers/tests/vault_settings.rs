//! The settings of the `vault` provider, from the configuration and from the environment.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests write the files that settings name")]

mod vault_support;

use keywheel_core::config::Mistake;
use keywheel_core::environment::Environment;
use keywheel_core::registry::{Kind, Registry};
use keywheel_core::{ErrorKind, Result};
use keywheel_providers::vault::VaultKind;
use keywheel_tests::certificates::Authority;
use vault_support::{configured, context, parse};

fn mistakes(settings: &str) -> Vec<String> {
    let error = parse(settings).unwrap_err();
    error.mistakes().iter().map(Mistake::to_string).collect()
}

fn built(variables: &[(&str, &str)]) -> Result<String> {
    let environment: Environment = variables.iter().copied().collect();
    let blueprint = VaultKind::new(Environment::default()).configure_from(&environment)?;
    let shown = format!("{blueprint:?}");
    blueprint.build(context())?;
    Ok(shown)
}

#[test]
fn takes_the_settings_of_the_contract() {
    for settings in [
        "  address: https://vault.company.com\n",
        "  address: http://127.0.0.1:8200/behind/a/prefix/\n  namespace: team-a\n  timeout: 3s\n",
        "  address: https://v\n  ca_file: /ca.pem\n  client_cert_file: /c.pem\n  client_key_file: /k.pem\n  server_name: v.internal\n",
        "  address: https://v\n  auth: {token: t}\n",
        "  address: https://v\n  auth: {method: token, token_file: /t}\n",
        "  address: https://v\n  auth: {method: kubernetes, role: app}\n",
        "  address: https://v\n  auth: {method: kubernetes, mount: k8s/one, role: app, token_file: /t}\n",
        "  address: https://v\n  auth: {method: jwt, token_file: /t}\n",
        "  address: https://v\n  auth: {method: kubernetes, role: app, token_request: {service_account: orders}}\n",
        "  address: https://v\n  auth: {method: jwt, token_request: {service_account: a, namespace: b, audience: c, expiration: 1h}}\n",
        "  address: https://v\n  auth: {method: jwt, role: app, token: t, mount: ci}\n",
        "  address: https://v\n  auth: {method: approle, role_id: r, secret_id_file: /s}\n",
        "  address: https://v\n  budget: {requests_per_second: 20, burst: 50}\n",
    ] {
        if let Err(error) = parse(settings) {
            panic!("{settings}: {error}");
        }
    }
}

#[test]
fn every_mistake_has_its_place_and_says_what_would_be_right() {
    for (settings, expected) in [
        ("  namespace: a\n", "3:3: providers.vault: needs `address`"),
        ("  address: vault.company.com:8200\n", "4:12: providers.vault.address: must be a URL such as"),
        ("  address: https://user:c4n4ry@v\n", "must not hold a user or a password"),
        ("  address: https://v/?x=1\n", "must not have a `?`"),
        ("  address: https://v\n  adress: x\n", "unknown key `adress`; did you mean `address`?"),
        (
            "  address: https://v\n  client_cert_file: /c\n",
            "needs `client_cert_file` and `client_key_file` together",
        ),
        ("  address: http://v\n  ca_file: /c\n", "nothing would be encrypted"),
        ("  address: http://v\n  ca_pem: c4n4ry\n", "nothing would be encrypted"),
        (
            "  address: https://v\n  ca_file: /c\n  ca_pem: c4n4ry\n",
            "needs not both of `ca_file` and `ca_pem`",
        ),
        ("  address: https://v\n  server_name: 10.0.0.1\n", "must be a host name"),
        ("  address: https://v\n  auth: {method: ldap}\n", "must be kubernetes, jwt, approle, cert or token"),
        ("  address: https://v\n  auth: {method: cert}\n", "needs `client_cert_file` and `client_key_file`"),
        ("  address: https://v\n  auth: {method: kubernetes}\n", "providers.vault.auth: needs `role`"),
        ("  address: https://v\n  auth: {method: kubernetes, role: a, token: t}\n", "unknown key `token`"),
        (
            "  address: https://v\n  auth: {method: approle, role_id: r}\n",
            "needs one of `secret_id` and `secret_id_file`",
        ),
        (
            "  address: https://v\n  auth: {method: token, token: c4n4ry, token_file: /t}\n",
            "needs not both of",
        ),
        ("  address: https://v\n  auth: token\n", "must be a mapping"),
        (
            "  address: https://v\n  auth: {method: kubernetes, role: a, token_file: /t, token_request: {service_account: a}}\n",
            "needs not both of `token_file` and `token_request`",
        ),
        (
            "  address: https://v\n  auth: {method: jwt, token: c4n4ry, token_request: {service_account: a}}\n",
            "unknown key `token`",
        ),
        (
            "  address: https://v\n  auth: {method: kubernetes, role: a, token_request: {}}\n",
            "providers.vault.auth.token_request: needs `service_account`",
        ),
        (
            "  address: https://v\n  auth: {method: kubernetes, role: a, token_request: {service_account: ../a}}\n",
            "have lower-case letters",
        ),
        (
            "  address: https://v\n  auth: {method: kubernetes, role: a, token_request: {service_account: a, expiration: 9m}}\n",
            "`expiration` must be 10m",
        ),
        (
            "  address: https://v\n  auth: {method: kubernetes, role: a, token_request: {service_account: a, audience: 'https://Kubernetes.default.svc.cluster.local/'}}\n",
            "5:54: providers.vault.auth.token_request: `audience` must not be the cluster's own API",
        ),
    ] {
        let mistakes = mistakes(settings);
        assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{expected}: {mistakes:?}");
        assert!(mistakes.iter().all(|mistake| !mistake.contains("c4n4ry")), "{mistakes:?}");
    }
}

#[test]
fn logins_of_two_accounts_are_two() {
    let realm = |request: &str| {
        let settings = format!(
            "  address: https://v\n  auth: {{method: kubernetes, role: app, token_request: {{{request}}}}}\n"
        );
        configured(&settings).realm()
    };
    let orders = realm("service_account: orders, namespace: shop");
    assert_eq!(orders, realm("service_account: orders, namespace: shop, expiration: 20m"));
    for other in ["service_account: orders", "service_account: stock, namespace: shop"] {
        assert_ne!(orders, realm(other), "{other}");
    }
}

#[test]
fn the_environment_is_the_one_of_the_vault_command_and_bao_wins() {
    let shown = built(&[
        ("VAULT_ADDR", "http://vault:1"),
        ("BAO_ADDR", "http://bao:2/"),
        ("VAULT_NAMESPACE", "/team-a/"),
        ("VAULT_TOKEN", "c4n4ry"),
        ("VAULT_CLIENT_TIMEOUT", "7"),
        ("VAULT_SKIP_VERIFY", "false"),
    ])
    .unwrap();
    assert!(shown.contains("bao") && !shown.contains("c4n4ry"), "{shown}");
    assert!(shown.contains("\"team-a\"") && shown.contains("7s"), "{shown}");
    let shown = built(&[("HOME", "/home/ann"), ("VAULT_CLIENT_TIMEOUT", "1m30s")]).unwrap();
    assert!(shown.contains("/home/ann/.vault-token") && shown.contains("8200"), "{shown}");
}

#[test]
fn variables_that_make_no_sense_are_refused() {
    for (name, value, expected) in [
        ("VAULT_SKIP_VERIFY", "true", "VAULT_CACERT"),
        ("BAO_SKIP_VERIFY", "1", "VAULT_CACERT"),
        ("VAULT_ADDR", "unix:///run/vault.sock", "must be a URL"),
        ("VAULT_CLIENT_CERT", "/c.pem", "belong together"),
        ("VAULT_TLS_SERVER_NAME", "::1", "host name"),
        ("VAULT_CLIENT_TIMEOUT", "soon", "seconds"),
        ("VAULT_CLIENT_TIMEOUT", "0", "above 0"),
        ("VAULT_NAMESPACE", "a\u{7f}b", "namespace"),
    ] {
        let error = built(&[(name, value)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_ca_or_client_certificate_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let authority = Authority::generate();
    let client = authority.issue_client(folder.path(), "client");
    std::fs::write(path("garbage"), "c4n4ry").unwrap();
    std::fs::write(path("half"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    let key = client.key_file.to_str().unwrap();
    for ca_file in ["missing", "garbage", "half"] {
        let error = built(&[("VAULT_CACERT", &path(ca_file))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(&path(ca_file)), "{error}");
        assert!(!error.to_string().contains("c4n4ry"), "{error}");
    }
    for (certificate, key) in
        [("missing", key), ("garbage", key), ("ca.pem", &path("garbage")), ("client.pem", &path("missing"))]
    {
        let error =
            built(&[("VAULT_CLIENT_CERT", &path(certificate)), ("VAULT_CLIENT_KEY", key)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{certificate}: {error}");
        assert!(error.to_string().contains("client"), "{error}");
    }
    built(&[
        ("VAULT_CACERT", &path("ca.pem")),
        ("VAULT_CLIENT_CERT", &path("client.pem")),
        ("VAULT_CLIENT_KEY", key),
    ])
    .unwrap();
}

#[test]
fn the_kind_has_its_alias() {
    let registry = Registry::default().with(VaultKind::default());
    assert_eq!(registry.names(), ["vault", "bao"]);
}
