//! Sets the stage for `keywheel agent`: a server, a pod's token to log in with, and a volume to deliver to.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service_account::{Issuer, ServiceAccount};
use crate::{OpenBao, Tmpfs};

/// A server whose jwt auth at `auth/jwt` lets the pod `orders` read everything in `secret/` and `kv1/`, and have
/// credentials and certificates made where engines for them are; the pod's projected token, and a volume.
#[derive(Debug)]
pub struct Stage {
    /// The server.
    pub bao: OpenBao,
    /// The memory-backed volume.
    pub volume: Tmpfs,
    issuer: Issuer,
    account: ServiceAccount,
    pod: TempDir,
}

impl Stage {
    /// Sets a stage whose logins last for an hour.
    pub fn set() -> Self {
        Self::with_logins(&json!({"token_ttl": "1h"}))
    }

    /// Sets a stage; `token` holds the parameters of the tokens that a login yields (`token_ttl`, `token_max_ttl`, …).
    pub fn with_logins(token: &Value) -> Self {
        let stage = Self {
            bao: OpenBao::start(),
            volume: Tmpfs::mount(64 << 20),
            issuer: Issuer::generate(),
            account: ServiceAccount::new("shop", "orders"),
            pod: tempfile::Builder::new().prefix("keywheel-pod-").tempdir().expect("a temporary folder"),
        };
        stage.bao.policy(POLICY, READ_ALL);
        stage.bao.enable_jwt("jwt", &stage.issuer);
        let mut token = token.clone();
        token["token_policies"] = json!([POLICY]);
        stage.bao.jwt_role("jwt", "orders", &stage.account, &token);
        stage.project_token(0..3600);
        stage
    }

    /// Replaces the pod's token as the kubelet does, by a rename, and returns it; `valid` is as in [`Issuer::token`].
    pub fn project_token(&self, valid: Range<i64>) -> String {
        let token = self.issuer.token(&self.account, valid);
        let aside = self.pod.path().join("token.new");
        std::fs::write(&aside, &token).expect("a token file");
        std::fs::rename(&aside, self.token_file()).expect("a token file");
        token
    }

    /// Returns a token of the pod's account for another audience than the server's.
    pub fn token_for(&self, audience: &str) -> String {
        let account = ServiceAccount { audience: audience.to_owned(), ..self.account.clone() };
        self.issuer.token(&account, 0..3600)
    }

    /// Returns the file with the pod's token.
    pub fn token_file(&self) -> PathBuf {
        self.pod.path().join("token")
    }

    /// Returns a folder of the pod's own, on whatever volume.
    pub fn pod(&self) -> &Path {
        self.pod.path()
    }

    /// Returns the directory that [`Stage::configuration`] delivers to.
    pub fn directory(&self) -> PathBuf {
        self.volume.path().join("orders")
    }

    /// Allows the pod to read everything again after [`Stage::forbid`].
    pub fn allow(&self) {
        self.bao.policy(POLICY, READ_ALL);
    }

    /// Takes everything from the pod's policy.
    pub fn forbid(&self) {
        self.bao.policy(POLICY, r#"path "nothing" { capabilities = ["read"] }"#);
    }

    /// Returns a configuration with the provider `vault` on this stage and the delivery `orders`, which `delivery` (its
    /// other keys) goes on from.
    pub fn configuration(&self, delivery: &str) -> String {
        let auth = format!("{{method: jwt, role: orders, token_file: {}}}", self.token_file().display());
        self.configuration_with(&auth, delivery)
    }

    /// As [`Stage::configuration`], with another `auth`.
    pub fn configuration_with(&self, auth: &str, delivery: &str) -> String {
        let (address, ca_file) = (self.bao.address(), self.bao.ca_file());
        let ca_file = ca_file.display();
        configuration(
            &format!("address: {address}, ca_file: {ca_file}, auth: {auth}"),
            &self.directory(),
            delivery,
        )
    }
}

/// Returns a configuration with the provider `vault`, whose keys are `vault` (in YAML's flow style), and the delivery
/// `orders` to `directory`.
pub fn configuration(vault: &str, directory: &Path, delivery: &str) -> String {
    format!(
        "providers:\n  vault: {{kind: vault, {vault}}}\ndeliveries:\n  - name: orders\n    directory: {}\n{}\n",
        directory.display(),
        delivery.trim_matches('\n'),
    )
}

const POLICY: &str = "orders";
const READ_ALL: &str = r#"
path "secret/*" { capabilities = ["read"] }
path "kv1/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;
