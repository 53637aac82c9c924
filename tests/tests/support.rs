//! The test support does what the other tests rely on.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use keywheel_tests::http::{Method, Request};
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use keywheel_tests::{OpenBao, Tmpfs, wait};
use serde_json::json;

#[test]
fn openbao_serves_over_tls_to_clients_that_trust_its_authority() {
    let bao = OpenBao::start();
    let version = bao.kv_put("secret", "orders/db", &json!({"password": "first"}));
    assert_eq!(version, 1);

    let url = format!("{}/v1/secret/data/orders/db", bao.address());
    let ca = fs::read_to_string(bao.ca_file()).unwrap();
    let read = || Request::new(Method::GET, &url).with_header("X-Vault-Token", bao.root_token());
    let answer = read().with_ca(&ca).send().unwrap();
    assert_eq!(answer.json()["data"]["data"], json!({"password": "first"}));
    read().send().expect_err("an authority that is not trusted");
}

#[test]
fn openbao_keeps_secrets_versions_and_both_kv_kinds() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));
    assert_eq!(bao.kv_put("secret", "a", &json!({"n": 2})), 2);
    bao.kv_delete("secret", "a");
    assert_eq!(bao.read("secret/data/a"), None);
    assert!(bao.read("secret/data/a?version=1").is_some());

    bao.kv1_put("kv1", "a", &json!({"n": "one"}));
    assert_eq!(bao.read("kv1/a").unwrap()["data"], json!({"n": "one"}));
}

#[test]
fn data_outlives_a_stop_and_a_seal() {
    let mut bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));

    bao.stop();
    assert_eq!(bao.health(), None);
    bao.start_again();
    assert!(bao.read("secret/data/a").is_some());

    bao.seal();
    assert_eq!(bao.health(), Some(503));
    bao.unseal();
    assert!(bao.read("secret/data/a").is_some());
}

#[test]
fn a_paused_server_answers_nobody_and_goes_on_afterwards() {
    let bao = OpenBao::start();
    bao.pause();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| bao.read("sys/mounts"));
        wait::throughout(Duration::from_millis(300), "no answer", || !request.is_finished());
        bao.resume();
        assert!(request.join().unwrap().is_some());
    });
}

#[test]
fn a_service_account_token_logs_in_until_it_expires() {
    let bao = OpenBao::start();
    let issuer = Issuer::generate();
    let orders = ServiceAccount::new("shop", "orders");
    bao.enable_jwt("jwt", &issuer);
    bao.jwt_role("jwt", "orders", &orders, &json!({"token_policies": ["default"], "token_ttl": "60s"}));

    let login = |jwt: &str| bao.jwt_login("jwt", "orders", jwt);
    let answer = login(&issuer.token(&orders, 0..600));
    assert_eq!(answer.json()["auth"]["lease_duration"], 60);

    let refused = [
        issuer.token(&orders, -600..-10),
        issuer.token(&ServiceAccount::new("shop", "other"), 0..600),
        issuer.token(&ServiceAccount { audience: "elsewhere".into(), ..orders.clone() }, 0..600),
        Issuer::generate().token(&orders, 0..600),
    ];
    for jwt in &refused {
        assert_eq!(login(jwt).status, 400);
    }
}

#[test]
fn a_role_and_a_secret_id_log_in() {
    let bao = OpenBao::start();
    bao.enable_approle("approle");
    let (role_id, secret_id) = bao.approle("approle", "orders", &json!({"token_ttl": "60s"}));
    let answer = bao.write("auth/approle/login", &json!({"role_id": role_id, "secret_id": secret_id}));
    assert_eq!(answer["auth"]["lease_duration"], 60);
}

#[test]
fn the_audit_log_counts_what_others_ask() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));
    bao.policy("reader", r#"path "secret/data/a" { capabilities = ["read"] }"#);
    let reader = bao.token(&json!({"policies": ["reader"], "ttl": "1h"}));
    let read = |path: &str| {
        let url = format!("{}/v1/{path}", bao.plain_address());
        Request::new(Method::GET, &url).with_header("X-Vault-Token", &reader.token).send().unwrap().status
    };

    let mark = bao.mark();
    assert_eq!([read("secret/data/a"), read("secret/data/a"), read("secret/data/b")], [200, 200, 403]);
    bao.read("secret/data/a");

    let seen = bao.requests_since(mark);
    let paths: Vec<_> = seen.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["secret/data/a", "secret/data/a", "secret/data/b"]);
    assert!(seen.iter().all(|request| request.accessor.as_ref() == Some(&reader.accessor)));
    assert_eq!(bao.count_since(mark, "secret/data/a"), 2);

    bao.revoke(&reader);
    assert_eq!(read("secret/data/a"), 403);
}

#[test]
fn a_small_tmpfs_fills_up_and_goes_away() {
    let volume = Tmpfs::mount(64 * 1024);
    let path = volume.path().to_owned();
    if volume.is_limited() {
        let error = fs::write(path.join("large"), vec![0; 128 * 1024]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
    drop(volume);
    assert!(!path.exists());
}
