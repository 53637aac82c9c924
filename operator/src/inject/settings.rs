//! What is the same for every pod of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

/// The cluster's own part of every injection; the rest is the pod's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The image of the sidecar: it has the program at `/bin/keywheel`.
    pub image: String,
    /// Whether the cluster knows native sidecars: init containers that go on (Kubernetes 1.29 and later).
    pub native_sidecars: bool,
    /// The address of Vault or OpenBao where a pod names none.
    pub provider_address: Option<String>,
    /// The audience of the token that a sidecar logs in with.
    pub token_audience: String,
    /// For how long such a token is valid; the kubelet renews it in time.
    pub token_ttl: Duration,
    /// What a sidecar gets, by `requests-cpu`, `limits-memory` and so on.
    pub resources: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Makes the settings of a cluster with native sidecars, and the defaults for all else.
    pub fn new(image: impl Into<String>) -> Self {
        let resources = [("requests-cpu", "5m"), ("requests-memory", "16Mi"), ("limits-memory", "64Mi")];
        Self {
            image: image.into(),
            native_sidecars: true,
            provider_address: None,
            token_audience: "vault".into(),
            token_ttl: Duration::from_secs(600),
            resources: resources.into_iter().map(|(name, quantity)| (name, quantity.to_owned())).collect(),
        }
    }
}
