//! Whole rotations of accounts of a MariaDB, published in OpenBao: whoever logs in with what is published is always let in.

#![cfg(all(feature = "mysql", feature = "vault"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the test writes the token's file")]

mod mysql_support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keywheel_core::client::Client;
use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_core::rotation::{Ask, Phase, Rotator, text};
use keywheel_core::{Clock, State};
use keywheel_tests::OpenBao;
use keywheel_tests::wait::until_async;
use mysql_support::{BOUND, Stage};
use serde_json::json;

#[tokio::test]
async fn two_accounts_take_turns_twenty_times() {
    rotate("app_a, app_b", 20).await;
}

#[tokio::test]
async fn one_account_is_replaced_in_place_ten_times() {
    rotate("app_a", 10).await;
}

/// Rotates so many times while somebody logs in with what is published, over and over.
async fn rotate(users: &str, times: u32) {
    let (stage, bao, folder) = (Stage::new(), OpenBao::start(), tempfile::tempdir().unwrap());
    let admin = json!({"username": stage.maria.admin_user(), "password": stage.maria.admin_password()});
    bao.kv_put("secret", "platform/maria", &admin);
    bao.kv_put("secret", "orders/db", &json!({"username": "app_a", "password": "first", "port": 3306}));
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, bao.root_token()).unwrap();
    let configuration = format!(
        r#"
providers:
  vault: {{kind: vault, address: "{}", ca_file: {}, auth: {{method: token, token_file: {}}}}}
rotations:
- name: orders
  target: vault://secret/orders/db
  schedule: {{every: 30d}}
  overlap: 500ms
  strategy:
    mysql: {{address: "{}", database: orders, admin: "vault://secret/platform/maria", users: [{users}]}}
"#,
        bao.address(),
        bao.ca_file().display(),
        token_file.display(),
        stage.maria.address()
    );
    let registry = keywheel_providers::registry();
    let mut config =
        Config::parse(Path::new("keywheel.yaml"), &configuration, &registry, &Environment::default())
            .unwrap();
    let (rotation, clock) = (config.rotations.remove(0), Clock::system());
    let client = Client::build(&config.providers, &clock, &State::in_memory()).unwrap();
    let target = rotation.target.clone();
    let rotator = Rotator::build(rotation, &client, &clock).unwrap();

    let (stage, done) = (Arc::new(stage), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (stage, done, client, target) =
            (Arc::clone(&stage), Arc::clone(&done), client.clone(), target.clone());
        tokio::spawn(async move {
            let (mut logins, mut refused) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                let fields = client.read(&target).await.unwrap().into_fields();
                let field = |name| text(&fields, name).unwrap().to_owned();
                let (stage, user, password) = (Arc::clone(&stage), field("username"), field("password"));
                let login = move || stage.maria.login(&user, &password, BOUND);
                if let Err(error) = tokio::task::spawn_blocking(login).await.unwrap() {
                    refused.push(error);
                }
                logins += 1;
            }
            (logins, refused)
        })
    };
    for _ in 0..times {
        let progress = rotator.advance(&Ask { now: true, ..Ask::default() }).await.unwrap();
        assert!(progress.published.is_some());
        until_async("the old one's end", async || {
            let progress = rotator.advance(&Ask::default()).await.unwrap();
            matches!(progress.standing.course.phase(), Phase::Idle).then_some(())
        })
        .await;
    }
    done.store(true, Ordering::Relaxed);
    let (logins, refused) = reader.await.unwrap();
    assert_eq!(refused, [""; 0], "{logins} logins");
    assert!(logins > times, "{logins} logins");

    // What the target has beside the account is still there; the password of the beginning is not accepted.
    let secret = client.read(&target).await.unwrap();
    assert!(secret.fields().contains_key("port"));
    assert!(!stage.lets_in("app_a", "first"));
}
