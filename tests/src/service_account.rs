//! Mints tokens of the shape that the kubelet projects into a pod.

use std::ops::Range;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_RSA_SHA256, SigningKey as _};
use serde_json::{Value, json};

/// The cluster's key that signs service-account tokens (RSA 2048, RS256).
#[derive(Debug)]
pub struct Issuer {
    key: KeyPair,
}

/// A pod's service account and the audience that its token is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The namespace.
    pub namespace: String,
    /// The account's name.
    pub name: String,
    /// The one audience.
    pub audience: String,
}

impl Issuer {
    /// Makes a new key.
    pub fn generate() -> Self {
        Self { key: KeyPair::generate_for(&PKCS_RSA_SHA256).expect("an RSA key") }
    }

    /// Returns the public key that verifies the tokens, PEM.
    pub fn public_key_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// Mints a token; `valid` counts seconds from now: `0..600` is fresh, `-600..-10` has expired.
    pub fn token(&self, account: &ServiceAccount, valid: Range<i64>) -> String {
        let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs())
            .expect("i64");
        self.sign(&json!({
            "iss": ISSUER,
            "aud": [account.audience],
            "sub": account.subject(),
            "iat": now + valid.start,
            "nbf": now + valid.start,
            "exp": now + valid.end,
            "kubernetes.io": {
                "namespace": account.namespace,
                "pod": {"name": "orders-6f9c8d7b5-x2x7p", "uid": "0a8e1a06-1a53-4a43-8b0f-6f3a1b1e7f10"},
                "serviceaccount": {"name": account.name, "uid": "5d5c2a86-8a4b-4f0b-9f1c-0f0c7f6a9c11"},
            },
        }))
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", encode(signature))
    }
}

impl ServiceAccount {
    /// Names an account whose tokens are made for the audience `vault`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into(), audience: "vault".into() }
    }

    /// Returns the subject as Kubernetes writes it.
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The issuer of the tokens, which is also the audience of the cluster's own API.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
