//! Rollouts in a real cluster. Its controllers are needed, and no node: what is counted is what they make of a template.

#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use keywheel_core::notify::{Mark, Rollouts, Workload, WorkloadKind};
use keywheel_providers::kubernetes::Pod;
use keywheel_tests::wait::until_async as until;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// Names the file with the way to a cluster where everything is allowed.
const KUBECONFIG: &str = "KEYWHEEL_TEST_KUBECONFIG";

/// A namespace of the test's own.
struct Stage {
    admin: Client,
    config: Config,
    namespace: String,
}

impl Stage {
    async fn new(name: &str) -> Self {
        let file = std::env::var(KUBECONFIG).unwrap_or_else(|_| panic!("{KUBECONFIG} is not set"));
        let kubeconfig = Kubeconfig::read_from(file).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let admin = Client::try_from(config.clone()).unwrap();
        let namespace = format!("rollouts-{name}-{}", std::process::id());
        let stage = Self { admin, config, namespace };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stage.namespace}});
        let all: Api<DynamicObject> = Api::all_with(stage.admin.clone(), &resource("", "v1", "Namespace"));
        all.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        stage
    }

    fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.clone(), &self.namespace, &resource(group, "v1", kind))
    }

    async fn create(&self, group: &str, kind: &str, name: &str, mut object: Value) {
        let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"name": name});
        let object = serde_json::from_value(object).unwrap();
        self.api(group, kind).create(&PostParams::default(), &object).await.unwrap();
    }

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

    async fn end(self) {
        let all: Api<DynamicObject> = Api::all_with(self.admin.clone(), &resource("", "v1", "Namespace"));
        all.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }

    fn workload(&self, kind: WorkloadKind, name: &str) -> Workload {
        Workload { kind, name: name.into(), namespace: Some(self.namespace.clone()) }
    }
}

fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
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
    let subject = json!({"kind": "ServiceAccount", "name": "orders", "namespace": stage.namespace});
    stage.create("", "ServiceAccount", "orders", json!({})).await;
    let accounts: Api<DynamicObject> = stage.api("", "ServiceAccount");
    let asked = json!({"spec": {"audiences": [], "expirationSeconds": 600}});
    let answer: Value =
        accounts.create_subresource("token", "orders", &PostParams::default(), &asked).await.unwrap();
    let mut config = stage.config.clone();
    config.auth_info = serde_json::from_value(json!({"token": answer["status"]["token"]})).unwrap();
    let pod = Pod::of(Client::try_from(config).unwrap());

    let workload = stage.workload(WorkloadKind::Deployment, "orders");
    let refused = pod.roll_out(&workload, &mark("2")).await.unwrap_err().to_string();
    assert!(refused.contains("403") && refused.contains("`patch` on deployments"), "{refused}");

    let rule = json!({"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["orders"], "verbs": ["patch"]});
    stage.create("rbac.authorization.k8s.io", "Role", "rollout", json!({"rules": [rule]})).await;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rollout"});
    let binding = json!({"roleRef": role, "subjects": [subject]});
    stage.create("rbac.authorization.k8s.io", "RoleBinding", "rollout", binding).await;
    let mark = mark("2");
    until("the role to count", async || pod.roll_out(&workload, &mark).await.ok()).await;
    assert_eq!(stage.template("Deployment").await.0, 2);

    let other = stage.workload(WorkloadKind::Deployment, "other");
    let missing = Pod::of(stage.admin.clone()).roll_out(&other, &mark).await.unwrap_err().to_string();
    assert!(missing.contains("there is no") && missing.contains("404"), "{missing}");
    stage.end().await;
}
