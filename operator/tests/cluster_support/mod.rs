//! A cluster, a webhook that it asks, and an OpenBao that its pods log in to.

mod replica;
mod stage;

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use keywheel_tests::OpenBao;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

pub(crate) use self::replica::Replica;
pub(crate) use self::stage::Stage;

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

    /// Deletes an object of the whole cluster's, if it is there.
    pub(crate) async fn delete(&self, group: &str, kind: &str, name: &str) {
        match self.all(group, kind).delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted.unwrap()),
        }
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

    /// Makes a namespace; this replica is asked about its pods, or else whoever the test says.
    pub(crate) async fn stage_of(self, namespace: &str, replica: Option<Replica>) -> Stage {
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

pub(crate) fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

/// Counts the logins at OpenBao that nobody gave back.
pub(crate) fn logins(bao: &OpenBao) -> usize {
    let found = bao.read("sys/leases/lookup/auth/kubernetes/login?list=true");
    found.and_then(|found| found["data"]["keys"].as_array().map(Vec::len)).unwrap_or_default()
}

pub(crate) fn kubeconfig() -> String {
    std::env::var(KUBECONFIG).unwrap_or_else(|_| panic!("{KUBECONFIG} is not set"))
}

pub(crate) fn image() -> String {
    std::env::var(IMAGE).unwrap_or_else(|_| panic!("{IMAGE} is not set"))
}

const KUBECONFIG: &str = "KEYWHEEL_TEST_KUBECONFIG";
const IMAGE: &str = "KEYWHEEL_TEST_IMAGE";
