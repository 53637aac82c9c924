//! The cluster that a pod runs in: rolls out the workload that the pod is of.

use std::fmt;

use async_trait::async_trait;
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::notify::{Mark, Rollouts, Workload};
use keywheel_core::{Error, ErrorKind, Result};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The pod that this program runs in, which speaks to its cluster with its service account. Nothing is read before the first rollout.
#[derive(Default)]
pub struct Pod {
    client: OnceCell<Client>,
}

impl Pod {
    /// Makes one that speaks through `client`.
    pub fn of(client: Client) -> Self {
        Self { client: OnceCell::new_with(Some(client)) }
    }

    async fn client(&self) -> Result<&Client> {
        let connect = async || {
            let config = Config::incluster().map_err(|_| outside())?;
            Client::try_from(config).map_err(|_| outside())
        };
        self.client.get_or_try_init(connect).await
    }
}

#[async_trait]
impl Rollouts for Pod {
    async fn roll_out(&self, workload: &Workload, mark: &Mark) -> Result<()> {
        let client = self.client().await?.clone();
        let kind = workload.kind.to_string();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", &kind));
        let namespace =
            workload.namespace.as_deref().unwrap_or_else(|| client.default_namespace()).to_owned();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
        let sender = PatchParams { field_manager: Some("keywheel".into()), ..PatchParams::default() };
        // Of the answer, only the metadata: a template may hold what is nobody's business here.
        let patched = api.patch_metadata(&workload.name, &sender, &Patch::Strategic(marked(mark))).await;
        patched.map(drop).map_err(|error| explained(&error, workload))
    }

    fn needs(&self, environment: &Environment) -> Needs {
        let port = environment.first(&["KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"]);
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(443);
        Needs::default().with_ports([port]).with_trees([SERVICE_ACCOUNT])
    }
}

/// Returns a change that sets the mark in the pods' template, and nothing else.
fn marked(mark: &Mark) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {&mark.annotation: &mark.value}}}}})
}

/// Says what the cluster answered, in words of our own.
fn explained(error: &kube::Error, workload: &Workload) -> Error {
    let failed = |reason: String| Error::new(ErrorKind::Notify, "roll out", reason);
    let kube::Error::Api(status) = error else {
        return failed("the cluster's API server cannot be reached".into()).with_temporary(true);
    };
    let resource = format!("{}s", workload.kind).to_lowercase();
    match status.code {
        401 => failed("the API server does not know this pod's service account (401)".into())
            .with_temporary(true),
        403 => failed("the API server refuses (403)".into()).with_help(format!(
            "allow the pod's service account the verb `patch` on {resource} (apps) with the name {}",
            workload.name
        )),
        404 => failed(format!("there is no {workload} (404)")),
        code => failed(format!("the API server answered {code}"))
            .with_temporary(code == 409 || code == 429 || code >= 500),
    }
}

/// Where the kubelet puts the token, the namespace and the authority of the cluster.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn outside() -> Error {
    Error::new(
        ErrorKind::Notify,
        "roll out",
        "this is no pod of a cluster, or one without a service account's token",
    )
    .with_help("`rollout` works in a pod whose `automountServiceAccountToken` is true")
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pod").finish_non_exhaustive()
    }
}
