//! The cluster that a pod runs in: rolls out the workload that the pod is of.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use http::Uri;
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::notify::{Mark, Rollouts, Workload};
use keywheel_core::{Error, ErrorKind, Result, names};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// The pod that this program runs in, which speaks to its cluster with its service account. Nothing is read before a rollout, and nothing is kept after it.
#[derive(Default)]
pub struct Pod {
    client: Option<Client>,
}

impl Pod {
    /// Makes one that speaks through `client`.
    pub fn of(client: Client) -> Self {
        Self { client: Some(client) }
    }

    async fn client(&self) -> Result<Client> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut config = Config::incluster().map_err(|_| outside())?;
        find(&mut config).await?;
        Client::try_from(config).map_err(|_| outside())
    }
}

/// Puts an address in the place of the API server's name, which the client would ask the C library for; the certificate is still looked at for the name.
async fn find(config: &mut Config) -> Result<()> {
    let server = config.cluster_url.clone();
    let Some(name) = server.host().filter(|host| host.parse::<IpAddr>().is_err() && !host.starts_with('['))
    else {
        return Ok(());
    };
    let unknown = || {
        let reason = "the host of the cluster's API server was not found";
        Error::new(ErrorKind::Notify, "roll out", reason).with("host", name).with_temporary(true)
    };
    let found = names::addresses(name).await.map_err(|_| unknown())?;
    let address = found.first().ok_or_else(unknown)?;
    let mut parts = server.clone().into_parts();
    let authority = SocketAddr::new(*address, server.port_u16().unwrap_or(443)).to_string();
    parts.authority = Some(authority.parse().map_err(|_| unknown())?);
    config.cluster_url = Uri::from_parts(parts).map_err(|_| unknown())?;
    config.tls_server_name = Some(name.to_owned());
    Ok(())
}

#[async_trait]
impl Rollouts for Pod {
    async fn roll_out(&self, workload: &Workload, mark: &Mark) -> Result<()> {
        let client = self.client().await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_takes_the_place_of_a_name_and_the_certificate_stays_the_name_s() {
        let found = async |url: &str| {
            let mut config = Config::new(url.parse().unwrap());
            find(&mut config).await.unwrap();
            (config.cluster_url.to_string(), config.tls_server_name)
        };
        let (url, name) = found("https://localhost:6443").await;
        assert!(matches!(url.as_str(), "https://127.0.0.1:6443/" | "https://[::1]:6443/"), "{url}");
        assert_eq!(name.as_deref(), Some("localhost"));
        assert!(found("https://localhost").await.0.ends_with(":443/"));
        for address in ["https://10.0.0.1/", "https://[fd00::1]:6443/"] {
            assert_eq!(found(address).await, (address.into(), None));
        }
    }
}
