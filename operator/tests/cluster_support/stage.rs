//! A namespace whose pods are injected, and what its pods log in to.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use keywheel_tests::wait::until_async as until;
use keywheel_tests::{OpenBao, Postgres};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, LogParams, PostParams};
use serde_json::{Value, json};

use super::{Cluster, Replica, image, logins};

/// A namespace of the test's own, with a webhook and a source of secrets.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    pub(crate) bao: OpenBao,
    pub(crate) replica: Option<Replica>,
}

/// A pod as the API server has it.
#[derive(Debug)]
pub(crate) struct Made(pub(crate) Value);

impl Made {
    pub(crate) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    pub(crate) fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap()
    }

    fn names(&self, list: &str) -> impl Iterator<Item = &str> {
        self.0["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
            .map(|container| container["name"].as_str().unwrap())
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = &str> {
        self.names("containers")
    }

    pub(crate) fn init_containers(&self) -> impl Iterator<Item = &str> {
        self.names("initContainers")
    }
}

impl Stage {
    pub(crate) async fn set(name: &str) -> Self {
        let cluster = Cluster::find().await;
        let name = format!("{name}-{}", std::process::id());
        let configuration = cluster.webhook_configuration(&name, &name).await;
        let replica = Replica::start(&configuration, "a", "48h");
        cluster.point(&configuration, replica.port()).await;
        cluster.stage_of(&name, Some(replica)).await
    }

    fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        self.cluster.api(&self.namespace, group, kind)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Lets the namespace's account `orders` log in at OpenBao.
    pub(crate) async fn let_in(&self) {
        let rules = r#"path "secret/*" { capabilities = ["read"] } path "database/creds/*" { capabilities = ["read"] }"#;
        self.cluster.let_in(&self.bao, &self.namespace, "orders", rules).await;
        let authority =
            json!({"metadata": {"name": "vault-ca"}, "data": {"ca.crt": self.bao.authority().pem()}});
        self.cluster.make(&self.api("", "ConfigMap"), "", "ConfigMap", authority).await;
    }

    /// Returns a pod that runs a line of shell as nobody special, with nothing that Pod Security `restricted` refuses but the host's network.
    pub(crate) fn plain_pod(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "app-"},
            "spec": {
                "serviceAccountName": "orders", "automountServiceAccountToken": false, "hostNetwork": true, "terminationGracePeriodSeconds": 10,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "app", "image": image(), "command": ["/bin/sh", "-c", "exec sleep 600"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
                }],
            },
        })
    }

    /// Returns such a pod that asks for a secret.
    pub(crate) fn pod(&self, annotations: Value, line: &str) -> Value {
        let mut pod = self.plain_pod();
        pod["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", line]);
        pod["metadata"]["labels"] = json!({"keywheel.dev/inject": "true"});
        let mut all = json!({
            "keywheel.dev/provider-address": self.bao.address(),
            "keywheel.dev/ca-config-map": "vault-ca",
            "keywheel.dev/role": "orders",
            "keywheel.dev/secret-db": "vault://secret/orders/db#password",
        });
        all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
        pod["metadata"]["annotations"] = all;
        pod
    }

    pub(crate) async fn try_create(&self, pod: Value) -> kube::Result<Made> {
        let made = self.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await?;
        Ok(Made(serde_json::to_value(made).unwrap()))
    }

    pub(crate) async fn try_dry_run(&self, pod: Value) -> kube::Result<()> {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let made = self.pods().create(&dry, &serde_json::from_value(pod).unwrap()).await?;
        assert!(made.spec.unwrap().init_containers.is_some(), "a pod that was not injected");
        Ok(())
    }

    pub(crate) async fn create(&self, pod: Value) -> Made {
        self.try_create(pod).await.unwrap()
    }

    pub(crate) async fn delete(&self, pod: &Made) {
        self.pods().delete(pod.name(), &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn until_log(&self, pod: &Made, container: &str, text: &str) {
        let what = format!("{container} to say {text:?}");
        let of = LogParams { container: Some(container.into()), ..LogParams::default() };
        until(&what, async || {
            let said = self.pods().logs(pod.name(), &of).await.unwrap_or_default();
            said.lines().any(|line| line.contains(text)).then_some(())
        })
        .await;
    }

    /// Has a Deployment make one pod, and returns that.
    pub(crate) async fn deploy(&self, name: &str, pod: Value) -> Made {
        let labels = json!({"app": name});
        let mut template = template(pod);
        template["metadata"]["labels"].as_object_mut().unwrap().insert("app".into(), name.into());
        let spec = json!({"selector": {"matchLabels": labels}, "template": template});
        let object = json!({"metadata": {"name": name}, "spec": spec});
        self.cluster.make(&self.api("apps", "Deployment"), "apps", "Deployment", object).await;
        let its_own = ListParams::default().labels(&format!("app={name}"));
        let pods = self.pods();
        let made = async || pods.list(&its_own).await.unwrap().items.pop();
        Made(serde_json::to_value(until(&format!("a pod of {name}"), made).await).unwrap())
    }

    pub(crate) async fn undeploy(&self, name: &str) {
        self.api("apps", "Deployment").delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Gives the secret another value, and waits until the application was told of it.
    pub(crate) async fn put_and_wait(&self, pod: &Made, number: u32) {
        self.bao.kv_put("secret", "orders/db", &json!({"password": format!("value-{number}")}));
        self.until_log(pod, "app", &format!("told of value-{number}")).await;
    }

    /// Waits until a container that has ended runs again.
    pub(crate) async fn until_restarted(&self, pod: &Made, container: &str) {
        until(&format!("{container} to run again"), async || {
            let status = self.pods().get(pod.name()).await.unwrap().status.unwrap();
            let mut containers = status.container_statuses.into_iter().flatten();
            let now = containers.find(|status| status.name == container)?;
            (now.restart_count == 1 && now.started == Some(true)).then_some(())
        })
        .await;
    }

    /// Waits until an init container has failed, and returns what the pod's status has of its last words.
    pub(crate) async fn until_failed(&self, pod: &Made, container: &str) -> String {
        until(&format!("{container} to fail"), async || {
            let status = self.pods().get(pod.name()).await.unwrap().status.unwrap();
            let mut containers = status.init_container_statuses.into_iter().flatten();
            let now = containers.find(|status| status.name == container)?;
            let ends = [now.state, now.last_state].into_iter().flatten().filter_map(|state| state.terminated);
            ends.filter_map(|end| end.message).next()
        })
        .await
    }

    /// Returns what the cluster has to say against what is in the namespace.
    pub(crate) async fn warnings(&self) -> Vec<String> {
        let events = self.api("events.k8s.io", "Event").list(&ListParams::default()).await.unwrap();
        let warnings =
            events.items.into_iter().map(|event| event.data).filter(|event| event["type"] == "Warning");
        warnings.map(|event| event["note"].as_str().unwrap().to_owned()).collect()
    }

    /// Lets OpenBao make accounts of a database's, for a path that the pods may read.
    pub(crate) fn database(&self) -> Postgres {
        let database = Postgres::start();
        self.bao.enable_database(&database);
        self.bao.dynamic_role("orders", Duration::from_secs(600), Duration::from_secs(3600));
        database
    }

    /// Makes a ConfigMap with a whole configuration.
    pub(crate) async fn configure(&self, name: &str) {
        let configuration = json!({
            "providers": {"vault": {
                "kind": "vault", "address": self.bao.address(), "ca_file": "/etc/keywheel/ca.crt",
                "auth": {"method": "kubernetes", "role": "orders", "token_file": "/var/run/secrets/keywheel/token"},
            }},
            "state_directory": "/run/keywheel/state",
            "admin": {"listen": "unix:/run/keywheel/admin.sock"},
            "deliveries": [{"name": "orders", "directory": "/keywheel/secrets", "secrets": {"db": "vault://secret/orders/db"}}],
        });
        let data = json!({"keywheel.yaml": configuration.to_string(), "ca.crt": self.bao.authority().pem()});
        let object = json!({"metadata": {"name": name}, "data": data});
        self.cluster.make(&self.api("", "ConfigMap"), "", "ConfigMap", object).await;
    }

    /// Runs a job to its end.
    pub(crate) async fn run_job(&self, name: &str, pod: Value) {
        self.make_job(name, pod).await;
        self.until_done(name).await;
    }

    /// Makes a job that may not fail once.
    pub(crate) async fn make_job(&self, name: &str, mut pod: Value) {
        pod["spec"]["restartPolicy"] = "Never".into();
        let template = template(pod);
        let job = json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}});
        self.cluster.make(&self.api("batch", "Job"), "batch", "Job", job).await;
    }

    pub(crate) async fn until_done(&self, name: &str) {
        until(&format!("the job {name} to end"), async || {
            let job = self.api("batch", "Job").get(name).await.unwrap();
            assert_eq!(job.data["status"]["failed"], Value::Null, "the job {name} failed");
            (job.data["status"]["succeeded"] == 1).then_some(())
        })
        .await;
    }

    pub(crate) fn logins(&self) -> usize {
        logins(&self.bao)
    }

    pub(crate) async fn end(self) {
        for (group, kind) in [
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("", "Namespace"),
        ] {
            self.cluster.delete(group, kind, &self.namespace).await;
        }
    }
}

/// Makes a pod what others make pods of.
fn template(mut pod: Value) -> Value {
    pod["metadata"].as_object_mut().unwrap().remove("generateName");
    json!({"metadata": pod["metadata"], "spec": pod["spec"]})
}
