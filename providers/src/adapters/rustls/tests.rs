use std::fs;
use std::time::Duration;

use keywheel_core::memory::Memory;
use keywheel_tests::certificates::Authority;
use keywheel_tests::wait;

use super::*;

/// Issues a certificate and its key, as texts.
fn issue(authority: &Authority) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let issued = authority.issue_server(folder.path());
    let read = |path| fs::read_to_string(path).unwrap();
    (read(issued.certificate_file), read(issued.key_file))
}

#[tokio::test]
async fn what_does_not_fit_together_is_not_used() {
    let (authority, source) = (Authority::generate(), Memory::new());
    let (one, two) = (issue(&authority), issue(&authority));
    let publish = |certificate: &str, key: &str| {
        source.set("tls/web", [("tls.crt", certificate), ("tls.key", key)]);
    };
    let refresh = Duration::from_millis(50);
    let client = Client::builder().refresh(refresh).own_provider("memory", source.clone()).build().unwrap();
    publish(&one.0, "no key");
    let refused = WatchedCertificate::watch(&client, "memory://tls/web").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("there is no private key in PEM form in it"), "{refused}");

    publish(&one.0, &one.1);
    let watched = WatchedCertificate::watch(&client, "memory://tls/web").await.unwrap();
    let leaf = || watched.current().cert[0].to_vec();
    let first = leaf();
    let mut newest: Watched<Issued> = client.watch("memory://tls/web").await.unwrap();
    publish(&two.0, &one.1);
    newest.changed().await.unwrap();
    assert_eq!(leaf(), first, "the key is of another one");
    publish(&two.0, &two.1);
    wait::until_async("the next certificate", async || (leaf() != first).then_some(())).await;
    assert!(!format!("{watched:?}").contains("PRIVATE KEY"));
}
