//! A cluster, a webhook that it asks, and an OpenBao that its pods log in to.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use keywheel_tests::wait::{self, until_async as until};
use keywheel_tests::{OpenBao, Process, Signal, built, http, ports};
use kube::api::{DeleteParams, DynamicObject, LogParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A cluster where everything is allowed.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) authority: String,
}

impl Cluster {
    pub(crate) async fn find() -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig()).unwrap();
        let data = kubeconfig.clusters[0].cluster.clone().unwrap();
        let authority = match (data.certificate_authority_data, data.certificate_authority) {
            (Some(data), _) => {
                use base64::Engine as _;
                String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap()
            }
            (None, file) => std::fs::read_to_string(file.unwrap()).unwrap(),
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config.clone()).unwrap(), config, authority }
    }

    pub(crate) fn all(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(group, kind))
    }

    pub(crate) fn api(&self, namespace: &str, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, kind))
    }

    pub(crate) async fn make(&self, api: &Api<DynamicObject>, group: &str, kind: &str, mut object: Value) {
        object["apiVersion"] = if group.is_empty() { "v1".into() } else { format!("{group}/v1").into() };
        object["kind"] = kind.into();
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// Returns a token of a service account.
    pub(crate) async fn token(&self, namespace: &str, account: &str) -> String {
        let asked = json!({"spec": {"audiences": [], "expirationSeconds": 3600}});
        let accounts = self.api(namespace, "", "ServiceAccount");
        let token: Value =
            accounts.create_subresource("token", account, &PostParams::default(), &asked).await.unwrap();
        token["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Makes an account that may do at OpenBao what the rules say; OpenBao asks the API server whether its token is good.
    pub(crate) async fn let_in(&self, bao: &OpenBao, namespace: &str, account: &str, rules: &str) {
        for name in [account, "reviewer"] {
            let object = json!({"metadata": {"name": name}});
            self.make(&self.api(namespace, "", "ServiceAccount"), "", "ServiceAccount", object).await;
        }
        let rbac = "rbac.authorization.k8s.io";
        let subject = json!({"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace});
        let role = json!({"apiGroup": rbac, "kind": "ClusterRole", "name": "system:auth-delegator"});
        let binding = json!({"metadata": {"name": namespace}, "roleRef": role, "subjects": [subject]});
        self.make(&self.all(rbac, "ClusterRoleBinding"), rbac, "ClusterRoleBinding", binding).await;
        bao.write("sys/auth/kubernetes", &json!({"type": "kubernetes"}));
        let config = json!({
            "kubernetes_host": self.config.cluster_url.to_string().trim_end_matches('/'),
            "kubernetes_ca_cert": self.authority,
            "token_reviewer_jwt": self.token(namespace, "reviewer").await,
        });
        bao.write("auth/kubernetes/config", &config);
        bao.policy(account, rules);
        let role = json!({
            "bound_service_account_names": [account], "bound_service_account_namespaces": [namespace],
            "audience": "vault", "token_policies": [account], "token_ttl": "1h",
        });
        bao.write(&format!("auth/kubernetes/role/{account}"), &role);
    }

    /// Makes the configuration by which the API server knows a webhook that nobody serves yet, for the pods of one namespace.
    pub(crate) async fn webhook_configuration(&self, name: &str, namespace: &str) -> String {
        let text = include_str!("../../../deploy/base/webhook.yaml");
        let mut object: Value = serde_saphyr::from_str(text).unwrap();
        object["metadata"]["name"] = name.into();
        let webhook = &mut object["webhooks"][0];
        webhook["clientConfig"] = json!({"url": "https://127.0.0.1:1/inject"});
        webhook["namespaceSelector"] = json!({"matchLabels": {"keywheel-test": namespace}});
        let group = "admissionregistration.k8s.io";
        self.make(
            &self.all(group, "MutatingWebhookConfiguration"),
            group,
            "MutatingWebhookConfiguration",
            object,
        )
        .await;
        name.to_owned()
    }

    fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    /// Has the API server ask at another port.
    pub(crate) async fn point(&self, configuration: &str, port: u16) {
        let client = json!({"url": format!("https://127.0.0.1:{port}/inject")});
        let patch = json!({"webhooks": [{"name": "pods.keywheel.dev", "clientConfig": client}]});
        self.configurations()
            .patch(configuration, &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .unwrap();
    }

    /// Returns the authorities that the API server trusts for a webhook.
    pub(crate) async fn authorities(&self, configuration: &str) -> BTreeSet<String> {
        let found = self.configurations().get(configuration).await.unwrap();
        let bundle = found
            .webhooks
            .unwrap()
            .remove(0)
            .client_config
            .ca_bundle
            .map(|bundle| bundle.0)
            .unwrap_or_default();
        let text = String::from_utf8(bundle).unwrap();
        text.split("-----BEGIN").skip(1).map(str::to_owned).collect()
    }

    /// Makes a namespace whose pods this replica is asked about.
    pub(crate) async fn stage_of(self, namespace: &str, replica: Replica) -> Stage {
        let labels = json!({"keywheel-test": namespace});
        let object = json!({"metadata": {"name": namespace, "labels": labels}});
        self.make(&self.all("", "Namespace"), "", "Namespace", object).await;
        let bao = OpenBao::start();
        let stage = Stage { cluster: self, namespace: namespace.to_owned(), bao, replica };
        stage.let_in().await;
        stage.bao.kv_put("secret", "orders/db", &json!({"password": "value-0"}));
        stage
    }
}

/// One process of the webhook's, on this host.
pub(crate) struct Replica {
    process: Process,
    reviews: u16,
    _folder: TempDir,
}

impl Replica {
    pub(crate) fn start(configuration: &str, name: &str, life: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (reviews, probes) = (ports::free(), ports::free());
        let mut command = Command::new(built::program("keywheel-operator"));
        command.args([
            "inject",
            "--host",
            "127.0.0.1",
            "--certificate-life",
            life,
            "--drain",
            "0s",
            "--replica",
            name,
        ]);
        command
            .arg("--listen")
            .arg(format!("127.0.0.1:{reviews}"))
            .arg("--probes")
            .arg(format!("127.0.0.1:{probes}"));
        command
            .args(["--webhook-configuration", configuration, "--image", &image()])
            .arg("--kubeconfig")
            .arg(kubeconfig());
        let process = Process::start("webhook", command, folder.path());
        wait::until(Duration::from_secs(30), "the webhook to be ready", || {
            process.assert_running();
            http::get(&format!("http://127.0.0.1:{probes}/readyz")).ok().filter(|answer| answer.status == 200)
        });
        Self { process, reviews, _folder: folder }
    }

    pub(crate) fn port(&self) -> u16 {
        self.reviews
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.ended().is_none()
    }

    pub(crate) fn stop(&self) {
        self.process.signal(Signal::TERM);
        assert_eq!(
            self.process.wait_for_end(Duration::from_secs(20)).code(),
            Some(0),
            "{}",
            self.process.stderr()
        );
    }
}

/// A namespace of the test's own, with a webhook and a source of secrets.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    namespace: String,
    pub(crate) bao: OpenBao,
    pub(crate) replica: Replica,
}

/// A pod as the API server has it.
#[derive(Debug)]
pub(crate) struct Made(pub(crate) Value);

impl Made {
    fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
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
        cluster.stage_of(&name, replica).await
    }

    fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        self.cluster.api(&self.namespace, group, kind)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Lets the namespace's account `orders` log in at OpenBao.
    async fn let_in(&self) {
        let rules = "path \"secret/*\" { capabilities = [\"read\"] }";
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

    /// Runs a job to its end.
    pub(crate) async fn run_job(&self, name: &str, mut template: Value) {
        template["spec"]["restartPolicy"] = "Never".into();
        template["metadata"].as_object_mut().unwrap().remove("generateName");
        let template = json!({"metadata": template["metadata"], "spec": template["spec"]});
        let job = json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}});
        self.cluster.make(&self.api("batch", "Job"), "batch", "Job", job).await;
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
        let group = "admissionregistration.k8s.io";
        for (group, kind) in [
            (group, "MutatingWebhookConfiguration"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("", "Namespace"),
        ] {
            self.cluster.all(group, kind).delete(&self.namespace, &DeleteParams::default()).await.unwrap();
        }
    }
}

pub(crate) fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

/// Counts the logins at OpenBao that nobody gave back.
pub(crate) fn logins(bao: &OpenBao) -> usize {
    let found = bao.read("sys/leases/lookup/auth/kubernetes/login?list=true");
    found.and_then(|found| found["data"]["keys"].as_array().map(Vec::len)).unwrap_or_default()
}

fn kubeconfig() -> String {
    std::env::var(KUBECONFIG).unwrap_or_else(|_| panic!("{KUBECONFIG} is not set"))
}

fn image() -> String {
    std::env::var(IMAGE).unwrap_or_else(|_| panic!("{IMAGE} is not set"))
}

const KUBECONFIG: &str = "KEYWHEEL_TEST_KUBECONFIG";
const IMAGE: &str = "KEYWHEEL_TEST_IMAGE";
