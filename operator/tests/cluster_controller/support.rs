//! A namespace with a database, an OpenBao that it may log in to, and the rights that `deploy/` gives the controller.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::rotations::MAY_ROTATE;
use keywheel_tests::wait::{self, until_async as until};
use keywheel_tests::{Faults, OpenBao, Process, Rotations, Signal, built, http, ports};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster_support::Cluster;

/// The service account that the controller is in a stage's namespace, and that schedules act as.
pub(crate) const CONTROLLER: &str = "keywheel-controller";
pub(crate) const ACCOUNT: &str = "rotate-orders";
const RBAC: &str = "rbac.authorization.k8s.io";

/// A namespace of the test's own.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    /// The namespace that the controller is in.
    controller: String,
    pub(crate) rotations: Rotations,
    /// Between the controller and OpenBao.
    pub(crate) faults: Faults,
    folder: TempDir,
}

/// One process of the controller's.
pub(crate) struct Replica {
    process: Process,
    pub(crate) name: String,
    probes: u16,
    _folder: TempDir,
}

impl Stage {
    /// Sets it, with everything that a schedule needs but the right to the account's tokens; `orders_a` is published.
    pub(crate) async fn set(name: &str) -> Self {
        let namespace = format!("{name}-{}", std::process::id());
        let stage = Self::apart(&namespace, &namespace).await;
        stage.install().await;
        stage
    }

    /// As [`Stage::set`], without anything of the controller's: that is in another namespace.
    pub(crate) async fn apart(namespace: &str, controller: &str) -> Self {
        let cluster = Cluster::find().await;
        let object = json!({"metadata": {"name": namespace}});
        cluster.make(&cluster.all("", "Namespace"), "", "Namespace", object).await;
        let bao = OpenBao::start();
        cluster.let_in(&bao, namespace, ACCOUNT, MAY_ROTATE).await;
        let rotations = Rotations::on(bao);
        let faults = Faults::before(&rotations.bao.plain_address());
        let folder = tempfile::tempdir().unwrap();
        Self {
            cluster,
            namespace: namespace.to_owned(),
            controller: controller.to_owned(),
            rotations,
            faults,
            folder,
        }
    }

    /// Applies what the base has for the controller, in this namespace: definitions, rights, the Lease.
    async fn install(&self) {
        self.install_from(&["crds/rotationschedules.yaml", "rotation-rbac.yaml"]).await;
        until("the definition to be served", async || {
            self.schedules().list(&ListParams::default()).await.ok().map(drop)
        })
        .await;
    }

    /// Applies the rights that the base has for the webhook.
    pub(crate) async fn install_webhook(&self) {
        self.install_from(&["rbac.yaml"]).await;
    }

    async fn install_from(&self, files: &[&str]) {
        for file in files {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/base").join(file);
            let text = std::fs::read_to_string(path).unwrap();
            for document in text.split("\n---\n") {
                self.apply(serde_saphyr::from_str(document).unwrap()).await;
            }
        }
    }

    /// Makes an object of the base, unless it is there. What is of the whole cluster is called after the namespace.
    async fn apply(&self, mut object: Value) {
        let (version, kind) = (object["apiVersion"].clone(), object["kind"].as_str().unwrap().to_owned());
        let (group, version) = version.as_str().unwrap().split_once('/').unwrap_or(("", "v1"));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        for subject in object["subjects"].as_array_mut().into_iter().flatten() {
            subject["namespace"] = self.namespace.as_str().into();
        }
        let client = self.cluster.client.clone();
        let api: Api<DynamicObject> = if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = self.namespace.as_str().into();
            Api::namespaced_with(client, &self.namespace, &resource)
        } else {
            if kind.starts_with("ClusterRole") {
                let name = self.cluster_wide(object["metadata"]["name"].as_str().unwrap());
                object["metadata"]["name"] = name.as_str().into();
                if kind == "ClusterRoleBinding" {
                    object["roleRef"]["name"] = name.into();
                }
            }
            Api::all_with(client, &resource)
        };
        match api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => drop(made.unwrap()),
        }
    }

    /// Returns what this stage's own role of the whole cluster is called.
    fn cluster_wide(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// Lets the controller ask for the account's tokens, as a namespace does that opts in.
    pub(crate) async fn opt_in(&self) {
        let rule = json!({
            "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [ACCOUNT], "verbs": ["create"],
        });
        let role = json!({"metadata": {"name": "tokens"}, "rules": [rule]});
        self.cluster.make(&self.cluster.api(&self.namespace, RBAC, "Role"), RBAC, "Role", role).await;
        let binding = json!({
            "metadata": {"name": "tokens"}, "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "tokens"},
            "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": self.controller}],
        });
        let bindings = self.cluster.api(&self.namespace, RBAC, "RoleBinding");
        self.cluster.make(&bindings, RBAC, "RoleBinding", binding).await;
    }

    /// Returns what the controller may do in the whole cluster.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let role = self.cluster.all(RBAC, "ClusterRole").get(&self.cluster_wide(CONTROLLER)).await.unwrap();
        role.data["rules"].as_array().unwrap().clone()
    }

    /// Lets the controller do this in the whole cluster, and nothing else.
    pub(crate) async fn allow(&self, rules: Vec<Value>) {
        let (name, patch) = (self.cluster_wide(CONTROLLER), Patch::Merge(json!({"rules": rules})));
        self.cluster.all(RBAC, "ClusterRole").patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) fn schedules(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("keywheel.dev", "v1alpha1", "RotationSchedule");
        Api::namespaced_with(self.cluster.client.clone(), &self.namespace, &ApiResource::from_gvk(&kind))
    }

    /// Makes a schedule of what is published, with this timing.
    pub(crate) async fn schedule(&self, name: &str, timing: Value) -> kube::Result<()> {
        let postgres = json!({
            "address": self.rotations.database.address(), "database": "postgres", "admin": "vault://secret/platform/db-admin",
            "users": ["orders_a", "orders_b"],
        });
        let object = json!({
            "apiVersion": "keywheel.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": name},
            "spec": {
                "target": "vault://secret/orders/db", "schedule": timing, "strategy": {"postgres": postgres}, "overlap": "1s",
                "provider": {"address": self.faults.address(), "auth": {"role": ACCOUNT}}, "serviceAccountName": ACCOUNT,
            },
        });
        let object = serde_json::from_value(object).unwrap();
        self.schedules().create(&PostParams::default(), &object).await.map(drop)
    }

    pub(crate) async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.schedules().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.schedules().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn status(&self, name: &str) -> Value {
        self.schedules().get(name).await.unwrap().data["status"].clone()
    }

    /// Waits for a condition `Ready` with this reason, and returns the whole status.
    pub(crate) async fn until_reason(&self, name: &str, reason: &str) -> Value {
        let what = format!("{name} to be {reason}");
        until(&what, async || {
            let status = self.status(name).await;
            (status["conditions"][0]["reason"] == reason).then_some(status)
        })
        .await
    }

    /// Returns the Events of a schedule, each with its type, reason and note.
    pub(crate) async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        let events = self.cluster.api(&self.namespace, "events.k8s.io", "Event");
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let text = |event: &DynamicObject, key: &str| event.data[key].as_str().unwrap_or_default().to_owned();
        events
            .iter()
            .filter(|event| event.data["regarding"]["name"] == name)
            .map(|event| (text(event, "type"), text(event, "reason"), text(event, "note")))
            .collect()
    }

    pub(crate) async fn until_version(&self, version: u64) {
        let what = format!("version {version} to be published");
        until(&what, async || (self.rotations.version() >= version).then_some(())).await;
    }

    /// Returns the replica that has the Lease.
    pub(crate) async fn leader<'a>(&self, replicas: &'a [Replica]) -> &'a Replica {
        until("a replica to lead", async || {
            let leases = self.cluster.api(&self.namespace, "coordination.k8s.io", "Lease");
            let lease = leases.get(CONTROLLER).await.unwrap();
            let holder = lease.data["spec"]["holderIdentity"].as_str().unwrap_or_default();
            replicas.iter().find(|replica| holder.starts_with(&format!("{}_", replica.name)))
        })
        .await
    }

    /// Starts a replica, which is in the cluster what the base lets it be.
    pub(crate) async fn start(&self, name: &str) -> Replica {
        use base64::Engine as _;
        let token = self.cluster.token(&self.namespace, CONTROLLER).await;
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.cluster.authority);
        let server = self.cluster.config.cluster_url.to_string();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": "c", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": self.namespace}}],
        });
        let file = self.folder.path().join("kubeconfig");
        #[allow(clippy::disallowed_methods, reason = "the test writes what kubectl would")]
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let (probes, folder) = (ports::free(), tempfile::tempdir().unwrap());
        let mut command = Command::new(built::program("keywheel-operator"));
        command.args([
            "controller",
            "--replica",
            name,
            "--namespace",
            &self.namespace,
            "--log-format",
            "text",
        ]);
        // It is http://, which nobody is asked by that is not named.
        command.arg("--provider-address").arg(self.faults.address()).arg("--shortest-interval=1s");
        command.arg("--probes").arg(format!("127.0.0.1:{probes}")).arg("--kubeconfig").arg(file);
        let process = Process::start(name, command, folder.path());
        let replica = Replica { process, name: name.to_owned(), probes, _folder: folder };
        wait::until(Duration::from_secs(30), "the controller to be ready", || {
            replica.process.assert_running();
            replica.probe("/readyz").map(drop)
        });
        replica
    }

    pub(crate) async fn end(self) {
        for kind in ["ClusterRoleBinding", "ClusterRole"] {
            for name in [
                self.namespace.clone(),
                self.cluster_wide(CONTROLLER),
                self.cluster_wide("keywheel-operator"),
            ] {
                self.cluster.delete(RBAC, kind, &name).await;
            }
        }
        self.cluster.delete("", "Namespace", &self.namespace).await;
    }
}

impl Replica {
    /// Returns what it answers, if that is 200.
    pub(crate) fn probe(&self, path: &str) -> Option<String> {
        let answer = http::get(&format!("http://127.0.0.1:{}{path}", self.probes)).ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Ends it as the kubelet does.
    pub(crate) fn stop(&self) {
        self.process.signal(Signal::TERM);
        let ended = self.process.wait_for_end(Duration::from_secs(30));
        assert_eq!(ended.code(), Some(0), "{}", self.process.stderr());
    }

    pub(crate) fn log(&self) -> String {
        self.process.stderr()
    }
}
