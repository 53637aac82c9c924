//! Rollouts in a real cluster. Its controllers are needed, and no node: what is counted is what they make of a template.

#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod kubernetes_support;

use keywheel_core::notify::{Mark, Rollouts, Workload, WorkloadKind};
use keywheel_providers::kubernetes::Pod;
use keywheel_tests::wait::until_async as until;
use kube::api::ListParams;
use serde_json::{Value, json};

use self::kubernetes_support::Stage;

impl Stage {
    async fn deploy(&self, kind: &str) {
        let container = json!({"name": "app", "image": "none", "env": [{"name": "A", "value": "1"}]});
        let template = json!({
            "metadata": {"labels": {"app": "orders"}, "annotations": {"other": "stays"}},
            "spec": {"containers": [container]},
        });
        let mut spec = json!({"selector": {"matchLabels": {"app": "orders"}}, "template": template});
        if kind == "StatefulSet" {
            spec["serviceName"] = "orders".into();
        }
        self.create("apps", kind, "orders", json!({"spec": spec})).await;
    }

    async fn template(&self, kind: &str) -> (i64, Value) {
        let found = self.api("apps", kind).get("orders").await.unwrap();
        (found.metadata.generation.unwrap(), found.data["spec"]["template"].clone())
    }

    async fn until_replica_sets(&self, count: usize) {
        let api = self.api("apps", "ReplicaSet");
        let counted =
            async || (api.list(&ListParams::default()).await.unwrap().items.len() == count).then_some(());
        until("replica sets", counted).await;
    }

    fn workload(&self, kind: WorkloadKind, name: &str) -> Workload {
        Workload { kind, name: name.into(), namespace: Some(self.namespace.clone()) }
    }
}

fn mark(version: &str) -> Mark {
    Mark::of("orders", &[("db".to_owned(), version.to_owned())].into())
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn replicas_with_the_same_versions_make_one_rollout() {
    let stage = Stage::new("same").await;
    stage.deploy("Deployment").await;
    stage.until_replica_sets(1).await;
    let (_, before) = stage.template("Deployment").await;
    let workload = stage.workload(WorkloadKind::Deployment, "orders");
    for (version, replica_sets) in [("2", 2), ("3", 3)] {
        let mark = mark(version);
        let pods: Vec<Pod> = (0..10).map(|_| Pod::of(stage.admin.clone())).collect();
        let asking = pods.iter().map(|pod| pod.roll_out(&workload, &mark));
        for answer in futures_util::future::join_all(asking).await {
            answer.unwrap();
        }
        stage.until_replica_sets(replica_sets).await;
        let (generation, mut after) = stage.template("Deployment").await;
        assert_eq!(generation, i64::try_from(replica_sets).unwrap());
        let annotations = after["metadata"]["annotations"].as_object_mut().unwrap();
        assert_eq!(annotations.remove("keywheel.dev/versions-orders").unwrap(), mark.value);
        assert_eq!(after, before, "nothing else changes");
    }
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn every_kind_of_workload_is_rolled_out() {
    let stage = Stage::new("kinds").await;
    for (kind, name) in [(WorkloadKind::StatefulSet, "StatefulSet"), (WorkloadKind::DaemonSet, "DaemonSet")] {
        stage.deploy(name).await;
        let workload = stage.workload(kind, "orders");
        for (version, generation) in [("2", 2), ("2", 2), ("3", 3)] {
            Pod::of(stage.admin.clone()).roll_out(&workload, &mark(version)).await.unwrap();
            assert_eq!(stage.template(name).await.0, generation, "{name} {version}");
        }
    }
    stage.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn refusals_say_what_to_do_and_one_verb_is_enough() {
    let stage = Stage::new("least").await;
    stage.deploy("Deployment").await;
    let pod = Pod::of(stage.account("orders").await);

    let workload = stage.workload(WorkloadKind::Deployment, "orders");
    let refused = pod.roll_out(&workload, &mark("2")).await.unwrap_err().to_string();
    assert!(refused.contains("403") && refused.contains("`patch` on deployments"), "{refused}");

    let rule = json!({"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["orders"], "verbs": ["patch"]});
    stage.allow("orders", rule).await;
    let mark = mark("2");
    until("the role to count", async || pod.roll_out(&workload, &mark).await.ok()).await;
    assert_eq!(stage.template("Deployment").await.0, 2);

    let other = stage.workload(WorkloadKind::Deployment, "other");
    let missing = Pod::of(stage.admin.clone()).roll_out(&other, &mark).await.unwrap_err().to_string();
    assert!(missing.contains("there is no") && missing.contains("404"), "{missing}");
    stage.end().await;
}
