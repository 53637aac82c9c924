//! A real cluster: its API server asks the webhook, and its kubelet runs what comes of that. The controller keeps its schedules.
//!
//! `KEYWHEEL_TEST_KUBECONFIG` names the way to the cluster, `KEYWHEEL_TEST_IMAGE` an image with `/bin/keywheel` and a shell that its node has. The API
//! server and the node have to be on this host: the webhook and OpenBao listen on loopback, and so do the pods.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod cluster_controller;
mod cluster_install;
mod cluster_support;

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_support::{Cluster, Replica, Stage};
use keywheel_tests::wait::{monotonic, until_async as until};
use keywheel_tests::{soak, strangers};
use serde_json::json;

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_application_is_told_of_changes_and_a_killed_sidecar_goes_on() {
    let stage = Stage::set("told").await;
    let database = stage.database();
    let annotations = json!({
        "keywheel.dev/refresh-db": "200ms",
        "keywheel.dev/on-change-app": TELL,
        "keywheel.dev/secret-creds": "vault://database/creds/orders",
    });
    let mut template = stage.pod(annotations, TOLD);
    template["spec"]["shareProcessNamespace"] = true.into();
    let pod = stage.deploy("told", template).await;
    let names: Vec<&str> = pod.init_containers().chain(pod.containers()).collect();
    assert_eq!(names, ["keywheel-init", "app", "keywheel"], "the pair, in a cluster without native sidecars");
    stage.until_log(&pod, "app", "uid 1000 begins with value-0").await;
    for number in 1..=20 {
        stage.put_and_wait(&pod, number).await;
    }
    assert_eq!(stage.logins(), 1, "the init container has given its own back");
    let leases = stage.bao.leases("database/creds/orders");
    assert_eq!(leases.len(), 1, "and its credential");
    strangers::kill(&[("cmdline", "keywheel\0agent\0"), ("cgroup", pod.uid())]);
    stage.until_restarted(&pod, "keywheel").await;
    stage.put_and_wait(&pod, 21).await;
    assert_eq!(stage.logins(), 1, "the login is resumed");
    assert_eq!(stage.bao.leases("database/creds/orders"), leases, "and the credential");
    stage.undeploy("told").await;
    until("all to be given back", async || {
        (stage.logins() == 0 && stage.bao.leases("database/creds/orders").is_empty()).then_some(())
    })
    .await;
    drop(database);
    stage.end().await;
}

/// A login that ends again and again: in soak until after the kubelet has renewed the token of ten minutes.
#[allow(clippy::print_stderr, reason = "how much was seen is what a soak is for")]
#[tokio::test]
#[ignore = "needs a cluster"]
async fn each_login_is_by_the_token_that_the_kubelet_has_renewed() {
    let stage = Stage::set("renewed").await;
    let mut role = stage.bao.read("auth/kubernetes/role/orders").unwrap()["data"].take();
    role["token_max_ttl"] = 10.into();
    role["token_ttl"] = 10.into();
    stage.bao.write("auth/kubernetes/role/orders", &role);
    let annotations = json!({"keywheel.dev/refresh-db": "200ms", "keywheel.dev/on-change-app": TELL, "keywheel.dev/token-ttl": "10m"});
    let mut template = stage.pod(annotations, TOLD);
    template["spec"]["shareProcessNamespace"] = true.into();
    let begun = (stage.bao.mark(), monotonic());
    let pod = stage.create(template).await;
    stage.until_log(&pod, "app", "begins with value-0").await;
    let span = soak::span(Duration::from_secs(15), Duration::from_secs(660));
    let mut changes = 0;
    while monotonic() - begun.1 < span {
        changes += 1;
        stage.put_and_wait(&pod, changes).await;
    }
    let requests = stage.bao.requests_since(begun.0);
    let logins = requests.iter().filter(|request| request.path == "auth/kubernetes/login");
    let tokens: Vec<String> = logins.map(|login| login.entry["request"]["data"]["jwt"].to_string()).collect();
    let distinct = BTreeSet::from_iter(&tokens).len();
    eprintln!("{changes} changes, {} logins by {distinct} tokens", tokens.len());
    assert!(
        tokens.len() > 2 && (distinct > 1 || !soak::is_on()),
        "{} logins by {distinct} tokens",
        tokens.len()
    );
    stage.delete(&pod).await;
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_program_is_the_application_s_parent() {
    let stage = Stage::set("wrapped").await;
    let annotations = json!({
        "keywheel.dev/mode": "run",
        "keywheel.dev/refresh-db": "200ms",
        "keywheel.dev/on-change-app": TELL,
    });
    let pod = stage.deploy("wrapped", stage.pod(annotations, TOLD)).await;
    assert_eq!(
        pod.init_containers().chain(pod.containers()).collect::<Vec<_>>(),
        ["keywheel-install", "app"]
    );
    assert_eq!(pod.0["spec"]["shareProcessNamespace"], serde_json::Value::Null);
    stage.until_log(&pod, "app", "uid 1000 begins with value-0").await;
    for number in 1..=20 {
        stage.put_and_wait(&pod, number).await;
    }
    stage.undeploy("wrapped").await;
    until("the login to be given back", async || (stage.logins() == 0).then_some(())).await;
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_application_is_started_anew_with_what_is_new() {
    let stage = Stage::set("restarted").await;
    let annotations = json!({
        "keywheel.dev/mode": "run",
        "keywheel.dev/refresh-db": "200ms",
        "keywheel.dev/on-change-app": "{restart: {grace: 1s}}",
    });
    let pod = stage
        .create(stage.pod(annotations, "echo begins with $(cat /keywheel/secrets/db); exec sleep 600"))
        .await;
    stage.until_log(&pod, "app", "begins with value-0").await;
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "value-1"}));
    stage.until_log(&pod, "app", "begins with value-1").await;
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_pod_whose_config_map_is_missing_says_so_and_waits() {
    let stage = Stage::set("unconfigured").await;
    let asks = |annotations: serde_json::Value| {
        let mut pod = stage.pod(json!({}), "echo has $(cat /keywheel/secrets/db/password); exec sleep 600");
        pod["metadata"]["annotations"] = annotations;
        pod
    };
    let pod = stage.create(asks(json!({"keywheel.dev/config": "orders"}))).await;
    // Where a failure would count, the kubelet is the one that waits.
    let mut job = asks(json!({"keywheel.dev/config": "orders", "keywheel.dev/mode": "once"}));
    job["spec"]["containers"][0]["command"] =
        json!(["/bin/sh", "-c", "test -s /keywheel/secrets/db/password"]);
    stage.make_job("waits", job).await;
    let unknown = stage.create(stage.pod(json!({"keywheel.dev/ca-config-map": "unknown"}), "true")).await;
    until("an Event to say what is missing", async || {
        let notes = stage.warnings().await;
        notes
            .iter()
            .any(|note| note.contains("keywheel-config") && note.contains("\"orders\" not found"))
            .then_some(())
    })
    .await;
    let said = stage.until_failed(&pod, "keywheel-init").await;
    stage.configure("orders").await;
    for part in ["/etc/keywheel/keywheel.yaml", "No such file", "keywheel.dev/config", "ConfigMap"] {
        assert!(said.contains(part), "{said}");
    }
    let said_of_authority = stage.until_failed(&unknown, "keywheel-init").await;
    assert!(said_of_authority.contains("/etc/keywheel/ca.crt"), "{said_of_authority}");
    for said in [said, said_of_authority] {
        let last = said.trim_end().lines().next_back().unwrap_or_default();
        assert!(said.len() < 1024 && !last.starts_with('{'), "{said}");
    }
    stage.until_log(&pod, "app", "value-0").await;
    stage.until_done("waits").await;
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
    stage.replica.as_ref().unwrap().stop();
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
    let stage = cluster.stage_of(&name, Some(first)).await;
    let mut seen = BTreeSet::new();
    let begun = monotonic();
    while monotonic() - begun < Duration::from_secs(20) {
        stage.try_dry_run(stage.pod(json!({}), "true")).await.unwrap();
        seen.extend(stage.cluster.authorities(&configuration).await);
    }
    assert!(seen.len() >= 4, "two replicas have replaced theirs: {}", seen.len());
    let kept = stage.cluster.authorities(&configuration).await;
    assert!((2..=4).contains(&kept.len()), "what has ended is gone: {}", kept.len());
    assert!(second.is_running());
    stage.end().await;
}

/// Says what it reads and whom it runs as, and says what it reads whenever it is told.
const TOLD: &str = "trap 'echo told of $(cat /keywheel/secrets/db)' HUP; \
    echo uid $(id -u) begins with $(cat /keywheel/secrets/db); while :; do sleep 600 & wait $!; kill $! 2>/dev/null; done";
const TELL: &str = "{signal: {process: sh, signal: SIGHUP, which: oldest}}";
