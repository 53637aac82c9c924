//! Encrypted connections to a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests write the files that settings name")]

mod vault_support;

use std::path::Path;

use keywheel_core::{Error, ErrorKind, Provider};
use keywheel_tests::certificates::Authority;
use keywheel_tests::{OpenBao, Options, ports};
use serde_json::json;
use vault_support::{expose, from_environment, provider, reference};

async fn refused(variables: &[(&str, &str)]) -> Error {
    let vault = from_environment(variables.iter().copied().chain([("VAULT_TOKEN", "t")]));
    vault.read(&reference("vault://secret/a")).await.unwrap_err()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_a_permanent_error_that_says_why() {
    let bao = OpenBao::start();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    std::fs::write(&other, Authority::generate().pem()).unwrap();
    let (address, ca_file) = (bao.address(), bao.ca_file());

    for (variables, expected) in [
        (vec![("VAULT_CACERT", text(&other))], "its issuer is not trusted"),
        (vec![], "its issuer is not trusted"),
        (
            vec![("VAULT_CACERT", text(&ca_file)), ("VAULT_TLS_SERVER_NAME", "elsewhere.test")],
            "it is for another name",
        ),
    ] {
        let mut all = vec![("VAULT_ADDR", address.as_str())];
        all.extend(&variables);
        let error = refused(&all).await;
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        match variables.first() {
            Some((_, file)) => assert!(error.to_string().contains(file), "{error}"),
            None => assert!(error.to_string().contains("VAULT_CACERT"), "{error}"),
        }
    }
}

#[tokio::test]
async fn the_server_name_is_verified_and_the_address_is_connected_to() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    // The other half, a name that does not resolve and is refused by the certificate alone, is in the test above.
    let vault = provider(&bao, &[("VAULT_TOKEN", bao.root_token()), ("VAULT_TLS_SERVER_NAME", "localhost")]);
    let secret = vault.read(&reference("vault://secret/a")).await.unwrap();
    assert_eq!(expose(&secret, "x"), "one");
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let folder = tempfile::tempdir().unwrap();
    let clients = Authority::generate();
    let client = clients.issue_client(folder.path(), "client");
    let stranger = Authority::generate().issue_client(folder.path(), "stranger");
    let server = Authority::generate();
    let issued = server.issue_server(folder.path());
    let (ca_file, clients_file) = (folder.path().join("ca.pem"), folder.path().join("clients.pem"));
    std::fs::write(&ca_file, server.pem()).unwrap();
    std::fs::write(&clients_file, clients.pem()).unwrap();
    let (port, cluster) = (ports::free(), ports::free());
    let mut options = Options::default();
    options.configuration = format!(
        r#"listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{}"
  tls_key_file = "{}"
  tls_require_and_verify_client_cert = "true"
  tls_client_ca_file = "{}"
}}"#,
        issued.certificate_file.display(),
        issued.key_file.display(),
        clients_file.display()
    );
    let bao = OpenBao::start_with(&options);
    bao.kv_put("secret", "a", &json!({"x": "one"}));
    let address = format!("https://127.0.0.1:{port}");
    let base = [("VAULT_ADDR", address.as_str()), ("VAULT_CACERT", text(&ca_file))];
    let with = |issued: &keywheel_tests::certificates::Issued| {
        [
            ("VAULT_CLIENT_CERT", text(&issued.certificate_file).to_owned()),
            ("VAULT_CLIENT_KEY", text(&issued.key_file).to_owned()),
        ]
    };

    let own = with(&client);
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let token = ("VAULT_TOKEN", bao.root_token());
    let vault = from_environment(base.into_iter().chain(own).chain([token]));
    assert_eq!(expose(&vault.read(&reference("vault://secret/a")).await.unwrap(), "x"), "one");

    let strange = with(&stranger);
    let strange: Vec<_> = strange.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for more in [vec![], strange] {
        let error = refused(&[base.to_vec(), more].concat()).await;
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false), "{error}");
        assert!(error.to_string().contains("client certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_server_of_the_other_protocol_is_named() {
    let bao = OpenBao::start();
    let plain_as_tls = bao.plain_address().replace("http:", "https:");
    let error = refused(&[("VAULT_ADDR", &plain_as_tls), ("VAULT_CACERT", text(&bao.ca_file()))]).await;
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    let tls_as_plain = bao.address().replace("https:", "http:");
    let error = refused(&[("VAULT_ADDR", &tls_as_plain)]).await;
    assert!(error.to_string().contains("https"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_temporary() {
    let address = format!("http://127.0.0.1:{}", ports::free());
    let error = refused(&[("VAULT_ADDR", &address)]).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("refused") && error.to_string().contains(&address), "{error}");
    let error = refused(&[("VAULT_ADDR", "http://no-such-host.invalid:1")]).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("name was not found"), "{error}");
}
