//! Rolls out the workload that the pod is of.

use std::fmt;

use async_trait::async_trait;
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::notify::{Mark, Rollouts, Workload};
use keywheel_core::{ErrorKind, Result};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::Purpose;

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
        match &self.client {
            Some(client) => Ok(client.clone()),
            None => PURPOSE.connect().await,
        }
    }
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
        patched.map(drop).map_err(|error| {
            let resource = format!("{}s", workload.kind).to_lowercase();
            let name = &workload.name;
            let allow = format!(
                "allow the pod's service account the verb `patch` on {resource} (apps) with the name {name}"
            );
            PURPOSE.refused(&error, allow, workload.to_string())
        })
    }

    fn needs(&self, environment: &Environment) -> Needs {
        super::needs(environment)
    }
}

/// Returns a change that sets the mark in the pods' template, and nothing else.
fn marked(mark: &Mark) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {&mark.annotation: &mark.value}}}}})
}

const PURPOSE: Purpose = Purpose { kind: ErrorKind::Notify, operation: "roll out" };

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pod").finish_non_exhaustive()
    }
}
