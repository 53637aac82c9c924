//! Sets the stage for what asks AWS: a server that plays it, a proxy before that, and a pod that has an identity there.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::moto::REGION;
use crate::{Faults, Moto, PodIdentity};

/// AWS as far as it is played, a proxy before it, and an agent that gives the pod credentials which do not end soon.
#[derive(Debug)]
pub struct Cloud {
    /// The server.
    pub moto: Moto,
    /// The proxy, through which [`Cloud::settings`] asks.
    pub faults: Faults,
    /// The agent.
    pub agent: PodIdentity,
    pod: TempDir,
}

impl Cloud {
    /// Starts all three; the pod's token is the one that the agent takes.
    pub fn start() -> Self {
        let moto = Moto::start();
        let faults = Faults::before(&moto.address());
        let pod = tempfile::Builder::new().prefix("keywheel-pod-").tempdir().expect("a temporary folder");
        let cloud = Self { moto, faults, agent: PodIdentity::start(TOKEN, FAR), pod };
        cloud.project_token(TOKEN);
        cloud
    }

    /// Returns the file with the pod's token.
    pub fn token_file(&self) -> PathBuf {
        self.pod.path().join("token")
    }

    /// Replaces the pod's token as the kubelet does, by a rename.
    pub fn project_token(&self, token: &str) {
        let aside = self.pod.path().join("token.new");
        std::fs::write(&aside, token).expect("a token file");
        std::fs::rename(&aside, self.token_file()).expect("a token file");
    }

    /// Returns the settings of a provider that asks through the proxy, but for `auth`, in YAML's flow style.
    pub fn settings(&self) -> String {
        let endpoint = self.faults.address();
        format!("region: {REGION}, endpoint_url: \"{endpoint}\", sts_endpoint_url: \"{endpoint}\"")
    }

    /// Returns the `auth` that asks the agent, in YAML's flow style.
    pub fn pod_identity(&self) -> String {
        let (agent, token) = (self.agent.address(), self.token_file());
        format!("auth: {{method: pod_identity, endpoint: \"{agent}\", token_file: {}}}", token.display())
    }
}

const TOKEN: &str = "pod-token-one";
const FAR: &str = "2099-01-01T00:00:00Z";
