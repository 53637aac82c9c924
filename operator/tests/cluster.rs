//! A real cluster: its API server asks the webhook, and its kubelet runs what comes of that. The controller keeps its schedules.
//!
//! `KEYWHEEL_TEST_KUBECONFIG` names the way to the cluster, `KEYWHEEL_TEST_IMAGE` an image with `/bin/keywheel` and a shell that its node has. The API
//! server and the node have to be on this host: the webhook and OpenBao listen on loopback, and so do the pods.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod cluster_controller;
mod cluster_support;

use std::time::Duration;

use cluster_support::{Cluster, Replica, Stage};
use keywheel_tests::wait::until_async as until;
use serde_json::json;

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_pod_has_its_secrets_follows_changes_and_leaves_nothing_behind() {
    let stage = Stage::set("follows").await;
    let pod = stage.create(stage.pod(json!({"keywheel.dev/refresh-db": "200ms"}), FOLLOWS)).await;
    let names: Vec<&str> = pod.init_containers().chain(pod.containers()).collect();
    assert_eq!(names, ["keywheel-init", "app", "keywheel"], "the pair, in a cluster without native sidecars");
    stage.until_log(&pod, "app", "uid 1000 has value-0").await;
    for number in 1..=20 {
        let value = format!("value-{number}");
        stage.bao.kv_put("secret", "orders/db", &json!({"password": value}));
        stage.until_log(&pod, "app", &format!("has {value}")).await;
    }
    assert_eq!(stage.logins(), 1, "the init container has given its own back");
    stage.delete(&pod).await;
    until("the login to be given back", async || (stage.logins() == 0).then_some(())).await;
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_program_is_the_application_s_parent() {
    let stage = Stage::set("wrapped").await;
    let annotations = json!({
        "keywheel.dev/mode": "run",
        "keywheel.dev/refresh-db": "200ms",
        "keywheel.dev/on-change-app": "{restart: {grace: 1s}}",
    });
    let pod = stage
        .create(stage.pod(annotations, "echo begins with $(cat /keywheel/secrets/db); exec sleep 600"))
        .await;
    assert_eq!(
        pod.init_containers().chain(pod.containers()).collect::<Vec<_>>(),
        ["keywheel-install", "app"]
    );
    assert_eq!(pod.0["spec"]["shareProcessNamespace"], serde_json::Value::Null);
    stage.until_log(&pod, "app", "begins with value-0").await;
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "value-1"}));
    stage.until_log(&pod, "app", "begins with value-1").await;
    stage.delete(&pod).await;
    until("the login to be given back", async || (stage.logins() == 0).then_some(())).await;
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_comes_to_its_end() {
    let stage = Stage::set("job").await;
    for mode in ["once", "run"] {
        let template =
            stage.pod(json!({"keywheel.dev/mode": mode}), "test $(cat /keywheel/secrets/db) = value-0");
        stage.run_job(mode, template).await;
    }
    // Whoever the sidecar is, the application reads: by its group, where the pod has one, else because everybody may who sees the volume.
    for (name, fs_group) in [("group", Some(2000)), ("everybody", None)] {
        let annotations = json!({"keywheel.dev/mode": "once", "keywheel.dev/run-as-user": "3000"});
        let mut template = stage.pod(annotations, "test $(cat /keywheel/secrets/db) = value-0");
        if let Some(group) = fs_group {
            template["spec"]["securityContext"]["fsGroup"] = group.into();
        }
        stage.run_job(name, template).await;
    }
    // A sidecar beside it would never end here, and whoever makes the pod is told so.
    let mut endless = stage.pod(json!({}), "true");
    endless["spec"]["restartPolicy"] = "Never".into();
    let refused = stage.try_create(endless).await.unwrap_err().to_string();
    assert!(refused.contains("keywheel.dev/mode"), "{refused}");
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_outage_of_the_webhook_stops_those_who_asked_and_nobody_else() {
    let stage = Stage::set("outage").await;
    let plain = stage.plain_pod();
    let untouched = stage.create(plain.clone()).await;
    assert!(
        untouched.init_containers().next().is_none()
            && untouched.0["metadata"]["annotations"]["keywheel.dev/status"].is_null()
    );
    stage.delete(&untouched).await;
    stage.replica.stop();
    let untouched = stage.create(plain).await;
    assert!(untouched.init_containers().next().is_none());
    let refused = stage.try_create(stage.pod(json!({}), "true")).await.unwrap_err().to_string();
    assert!(refused.contains("pods.keywheel.dev"), "{refused}");
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn certificates_are_replaced_and_no_review_fails() {
    let cluster = Cluster::find().await;
    let name = format!("rotates-{}", std::process::id());
    let configuration = cluster.webhook_configuration(&name, &name).await;
    let first = Replica::start(&configuration, "a", "12s");
    let second = Replica::start(&configuration, "b", "12s");
    cluster.point(&configuration, first.port()).await;
    let stage = cluster.stage_of(&name, first).await;
    let mut seen = std::collections::BTreeSet::new();
    let begun = keywheel_tests::wait::monotonic();
    while keywheel_tests::wait::monotonic() - begun < Duration::from_secs(20) {
        stage.try_dry_run(stage.pod(json!({}), "true")).await.unwrap();
        seen.extend(stage.cluster.authorities(&configuration).await);
    }
    assert!(seen.len() >= 4, "two replicas have replaced theirs: {}", seen.len());
    let kept = stage.cluster.authorities(&configuration).await;
    assert!((2..=4).contains(&kept.len()), "what has ended is gone: {}", kept.len());
    assert!(second.is_running());
    stage.end().await;
}

/// Says what it reads whenever that is another value, and whom it runs as.
const FOLLOWS: &str = "while :; do now=$(cat /keywheel/secrets/db); \
    if [ \"$now\" != \"$was\" ]; then echo uid $(id -u) has $now; was=$now; fi; sleep 0.05; done";
