//! A namespace of a real cluster, for a test of its own.

#![allow(dead_code, reason = "each test uses its own part")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// Names the file with the way to a cluster where everything is allowed.
const KUBECONFIG: &str = "KEYWHEEL_TEST_KUBECONFIG";

/// A namespace of the test's own.
pub(crate) struct Stage {
    pub(crate) admin: Client,
    pub(crate) config: Config,
    pub(crate) namespace: String,
}

impl Stage {
    pub(crate) async fn new(name: &str) -> Self {
        let config =
            Config::from_custom_kubeconfig(kubeconfig(), &KubeConfigOptions::default()).await.unwrap();
        let admin = Client::try_from(config.clone()).unwrap();
        let namespace = format!("keywheel-{name}-{}", std::process::id());
        let stage = Self { admin, config, namespace };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stage.namespace}});
        let all: Api<DynamicObject> = Api::all_with(stage.admin.clone(), &resource("", "v1", "Namespace"));
        all.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        stage
    }

    pub(crate) fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.clone(), &self.namespace, &resource(group, "v1", kind))
    }

    pub(crate) async fn create(&self, group: &str, kind: &str, name: &str, mut object: Value) {
        let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"name": name});
        let object = serde_json::from_value(object).unwrap();
        self.api(group, kind).create(&PostParams::default(), &object).await.unwrap();
    }

    /// Makes a service account, and returns a client that speaks as it.
    pub(crate) async fn account(&self, name: &str) -> Client {
        self.create("", "ServiceAccount", name, json!({})).await;
        self.client_with(&self.token(name, &[], 600).await)
    }

    /// Returns a token of a service account, as the administrator has it issued.
    pub(crate) async fn token(&self, name: &str, audiences: &[&str], seconds: u64) -> String {
        let accounts: Api<DynamicObject> = self.api("", "ServiceAccount");
        let asked = json!({"spec": {"audiences": audiences, "expirationSeconds": seconds}});
        let answer: Value =
            accounts.create_subresource("token", name, &PostParams::default(), &asked).await.unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Returns a client that speaks with `token`.
    pub(crate) fn client_with(&self, token: &str) -> Client {
        let mut config = self.config.clone();
        config.auth_info = serde_json::from_value(json!({"token": token})).unwrap();
        Client::try_from(config).unwrap()
    }

    /// Lets a service account do what `rule` says.
    pub(crate) async fn allow(&self, name: &str, rule: Value) {
        let group = "rbac.authorization.k8s.io";
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": self.namespace});
        self.create(group, "Role", "allowed", json!({"rules": [rule]})).await;
        let role = json!({"apiGroup": group, "kind": "Role", "name": "allowed"});
        self.create(group, "RoleBinding", "allowed", json!({"roleRef": role, "subjects": [subject]})).await;
    }

    pub(crate) async fn end(self) {
        let all: Api<DynamicObject> = Api::all_with(self.admin.clone(), &resource("", "v1", "Namespace"));
        all.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

/// Returns the certificate of who answers for the cluster, PEM.
pub(crate) fn ca() -> String {
    let cluster = kubeconfig().clusters.remove(0).cluster.unwrap();
    let data = cluster.certificate_authority_data.map(|data| STANDARD.decode(data).unwrap());
    let pem = data.unwrap_or_else(|| std::fs::read(cluster.certificate_authority.unwrap()).unwrap());
    String::from_utf8(pem).unwrap()
}

fn kubeconfig() -> Kubeconfig {
    let file = std::env::var(KUBECONFIG).unwrap_or_else(|_| panic!("{KUBECONFIG} is not set"));
    Kubeconfig::read_from(file).unwrap()
}

pub(crate) fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
