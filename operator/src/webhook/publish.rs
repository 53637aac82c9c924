//! Tells the API server which authority to trust: in the MutatingWebhookConfiguration, by compare-and-set.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::WebhookError;
use super::bundle::merge;

/// The configuration by which the API server knows this webhook.
#[derive(Clone)]
pub struct Configuration {
    api: Api<MutatingWebhookConfiguration>,
    name: String,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The authorities are there.
    Done,
    /// They were not, and are now.
    Changed,
    /// Another replica was there first, or nobody answered; why.
    Again(String),
    /// Somebody has to allow it first.
    Denied(WebhookError),
}

impl Configuration {
    /// Names one.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { api: Api::all(client), name: name.into() }
    }

    /// Sees to it that every webhook of the configuration trusts `own`; what other replicas put there stays.
    pub(super) async fn publish(&self, own: &[&str], replica: &str, now: Timestamp) -> Attempt {
        // Nobody may answer for ever: a connection that is gone without a word, say.
        let attempt = tokio::time::timeout(WITHIN, self.attempt(own, replica, now));
        attempt.await.unwrap_or_else(|_| Attempt::Again("the cluster's API server does not answer".into()))
    }

    async fn attempt(&self, own: &[&str], replica: &str, now: Timestamp) -> Attempt {
        let found = match self.api.get(&self.name).await {
            Ok(found) => found,
            Err(error) => return self.failed("get", &error),
        };
        let Some(change) = change(&found, own, replica, now) else { return Attempt::Done };
        // With its version, so that two replicas do not undo each other's.
        let sender =
            PatchParams { field_manager: Some("keywheel-operator".into()), ..PatchParams::default() };
        match self.api.patch_metadata(&self.name, &sender, &Patch::Strategic(change)).await {
            Ok(_) => Attempt::Changed,
            Err(error) => self.failed("patch", &error),
        }
    }

    fn failed(&self, verb: &str, error: &kube::Error) -> Attempt {
        let name = &self.name;
        let kube::Error::Api(status) = error else {
            return Attempt::Again("the cluster's API server cannot be reached".into());
        };
        let what =
            format!("the API server answers {} to {verb} mutatingwebhookconfigurations/{name}", status.code);
        match status.code {
            401 | 403 => Attempt::Denied(WebhookError {
                reason: format!("{what}; allow this service account `get` and `patch` on that one object"),
                is_denied: true,
            }),
            404 => {
                Attempt::Again(format!("{what}; make it, or name another one with --webhook-configuration"))
            }
            _ => Attempt::Again(what),
        }
    }
}

/// Returns the patch that makes it so, if one is needed.
fn change(
    found: &MutatingWebhookConfiguration,
    own: &[&str],
    replica: &str,
    now: Timestamp,
) -> Option<Value> {
    let changed = found.webhooks.iter().flatten().filter_map(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref().map_or(&[][..], |bundle| bundle.0.as_slice());
        let merged = merge(bundle, own, replica, now)?;
        let bundle = k8s_openapi::ByteString(merged);
        Some(json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}}))
    });
    let changed: Vec<Value> = changed.collect();
    let version = &found.metadata.resource_version;
    (!changed.is_empty()).then(|| json!({"metadata": {"resourceVersion": version}, "webhooks": changed}))
}

/// For both requests.
const WITHIN: Duration = Duration::from_secs(30);

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").field("name", &self.name).finish_non_exhaustive()
    }
}
