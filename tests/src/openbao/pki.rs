//! Lets the server issue certificates.

use std::time::Duration;

use serde_json::{Value, json};

use super::OpenBao;
use super::database::seconds;

impl OpenBao {
    /// Enables the certificate engine at `pki/` with a root of its own: an EC key that never leaves the server.
    pub fn enable_pki(&self) {
        let mount = json!({"type": "pki", "config": {"max_lease_ttl": TEN_YEARS}});
        self.write("sys/mounts/pki", &mount);
        let root =
            json!({"common_name": "Keywheel tests", "key_type": "ec", "key_bits": 256, "ttl": TEN_YEARS});
        self.write("pki/root/generate/internal", &root);
    }

    /// Makes a role that issues certificates with EC keys (P-256) for any name, valid for `max_ttl` at most and by
    /// default; [`OpenBao::issue`] issues one.
    pub fn pki_role(&self, name: &str, max_ttl: Duration) {
        let role = json!({
            "allow_any_name": true,
            "enforce_hostnames": false,
            "key_type": "ec",
            "key_bits": 256,
            "ttl": seconds(max_ttl),
            "max_ttl": seconds(max_ttl),
        });
        self.write(&format!("pki/roles/{name}"), &role);
    }

    /// Issues a certificate; returns the answer's data.
    ///
    /// That is `certificate`, `private_key`, `issuing_ca` (PEM), `ca_chain` (an array of PEM), `private_key_type`,
    /// `serial_number`, and `not_before` and `expiration` in Unix seconds. There is no lease. A `ttl` above the role's
    /// maximum is cut to it. The certificate is valid from 30 s before now, for clocks that differ.
    pub fn issue(&self, role: &str, common_name: &str, ttl: Duration) -> Value {
        let body = json!({"common_name": common_name, "ttl": seconds(ttl)});
        self.write(&format!("pki/issue/{role}"), &body)["data"].take()
    }
}

const TEN_YEARS: &str = "87600h";
