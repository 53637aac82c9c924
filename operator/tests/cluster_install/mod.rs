//! What `deploy/` installs, in a real cluster: its API server takes each object whose kind it knows, and its node runs the programs.

mod installation;
#[allow(dead_code, reason = "the tests of the files themselves need the rest")]
#[path = "../deploy/manifests.rs"]
mod manifests;

use std::time::Duration;

use keywheel_tests::wait::until_async as until;
use keywheel_tests::{strangers, wait};
use serde_json::json;

use self::installation::{Installation, NAMESPACE};
use crate::cluster_controller::{self as controller, assert_made_once};
use crate::cluster_support::{self as injector, Cluster};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn what_is_installed_injects_and_rotates() {
    let id = std::process::id();
    let injected = Cluster::find().await.stage_of(&format!("injected-{id}"), None).await;
    let rotated = controller::Stage::apart(&format!("rotated-{id}"), NAMESPACE).await;
    let installation = Installation::make(&injected, &rotated).await;
    installation.try_every_manifest().await;
    injects(&injected, &installation).await;
    rotates(&rotated, &installation).await;
    installation.end().await;
    rotated.end().await;
    injected.end().await;
}

/// Pods that ask for it are injected, and those that do not are left alone, with and without the webhook.
async fn injects(stage: &injector::Stage, installation: &Installation<'_>) {
    let pod =
        stage.create(stage.pod(json!({}), "echo has $(cat /keywheel/secrets/db); exec sleep 600")).await;
    assert_eq!(pod.0["metadata"]["annotations"]["keywheel.dev/status"], "injected");
    stage.until_log(&pod, "app", "value-0").await;
    let is_untouched = async || {
        let plain = stage.create(stage.plain_pod()).await;
        plain.init_containers().next().is_none()
            && plain.0["metadata"]["annotations"]["keywheel.dev/status"].is_null()
    };
    assert!(is_untouched().await);
    installation.without_webhook().await;
    let refused = stage.try_create(stage.pod(json!({}), "true")).await.unwrap_err().to_string();
    assert!(refused.contains("pods.keywheel.dev"), "{refused}");
    assert!(is_untouched().await, "an outage of the webhook stops nobody else");
}

/// Two replicas, of which the one that leads is killed: each rotation is made once.
async fn rotates(stage: &controller::Stage, installation: &Installation<'_>) {
    let probe = stage.rotations.probe();
    let first = stage.rotations.version();
    stage.opt_in().await;
    stage.schedule("orders", json!({"every": "3s"})).await.unwrap();
    stage.until_version(first + 2).await;
    for _ in 0..3 {
        let leader = installation.leader().await;
        let (replica, _) = leader.split_once('_').unwrap();
        strangers::kill(&[("cmdline", "\0controller\0"), ("cmdline", &format!("\0--replica={replica}\0"))]);
        until("another to lead", async || (installation.leader().await != leader).then_some(())).await;
        // It may have been killed in the middle of a step, which is its own for up to a minute.
        let before = stage.rotations.version();
        let after = || (stage.rotations.version() > before).then_some(());
        wait::until(Duration::from_secs(100), "a rotation by another", after);
    }
    stage.change("orders", json!({"schedule": {"paused": true}})).await;
    let status = stage.until_reason("orders", "Paused").await;
    let last = stage.rotations.version();
    assert_eq!(status["version"], last.to_string());
    let seen = probe.finish();
    assert_eq!(seen.failed, Vec::<String>::new(), "what is published logs in all along");
    assert_made_once(stage, first..=last).await;
}
