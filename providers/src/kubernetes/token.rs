//! Has the cluster issue a short-lived token of a service account (TokenRequest), for those who log in with one.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::Request;
use http::header::CONTENT_TYPE;
use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::identity::TokenIssuer;
use keywheel_core::needs::Needs;
use keywheel_core::notify::Workload;
use keywheel_core::{ErrorKind, Result, SecretValue};
use kube::Client;
use serde::Deserialize;
use serde_json::json;
use zeroize::{Zeroize, Zeroizing};

use super::Purpose;

/// Whose token is wanted, for whom, and for how long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRequest {
    /// The service account.
    pub service_account: String,
    /// Its namespace; the pod's own when it is left out.
    pub namespace: Option<String>,
    /// Who is to accept the token; nobody else does, the cluster itself included.
    pub audience: String,
    /// How long it is to be valid.
    pub expiration: Duration,
}

/// Asks the cluster for such tokens, with the service account of the pod that this program runs in. A token is asked for anew each time, and nothing is kept.
#[derive(Clone)]
pub struct AccountTokens {
    request: TokenRequest,
    client: Option<Client>,
    needs: Needs,
}

impl TokenRequest {
    /// The shortest time that the cluster issues a token for.
    pub const SHORTEST: Duration = Duration::from_secs(600);
    /// The longest time that is asked for: a login takes seconds.
    pub const LONGEST: Duration = Duration::from_secs(3600);

    /// Reads `service_account`, `namespace`, `audience` and `expiration`; mistakes go to the section.
    pub fn parse(mut section: Section<'_>) -> Option<Self> {
        let service_account: Option<String> = section.required("service_account");
        let namespace: Option<String> = section.optional("namespace");
        let audience = section.optional("audience").unwrap_or_else(|| AUDIENCE.to_owned());
        let expiration = section.optional("expiration").unwrap_or(Self::SHORTEST);
        let mut is_good = true;
        if [&service_account, &namespace].into_iter().flatten().any(|name| !Workload::is_name(name)) {
            section.mistake("`service_account` and `namespace` have lower-case letters, digits, `-` and `.`");
            is_good = false;
        }
        if is_of_the_api(&audience) {
            section.mistake("`audience` must not be the cluster's own API: whoever got hold of the token would be the account there");
            is_good = false;
        }
        if !(Self::SHORTEST..=Self::LONGEST).contains(&expiration) {
            section.mistake("`expiration` must be 10m, which is the cluster's shortest, to 1h");
            is_good = false;
        }
        section.finish();
        let request = Self { service_account: service_account?, namespace, audience, expiration };
        is_good.then_some(request)
    }
}

impl AccountTokens {
    /// Asks from within a pod of the cluster, which `environment` says where to find.
    pub fn new(request: TokenRequest, environment: &Environment) -> Self {
        Self { request, client: None, needs: super::needs(environment) }
    }

    /// Asks through `client`.
    pub fn of(client: Client, request: TokenRequest) -> Self {
        Self { request, client: Some(client), needs: Needs::default() }
    }

    async fn ask(&self) -> Result<SecretValue> {
        let TokenRequest { service_account, namespace, audience, expiration } = &self.request;
        let client = match &self.client {
            Some(client) => client.clone(),
            None => PURPOSE.connect().await?,
        };
        let namespace = namespace.as_deref().unwrap_or_else(|| client.default_namespace()).to_owned();
        let asked = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": expiration.as_secs()},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token");
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .body(asked.to_string().into_bytes())
            .map_err(|_| PURPOSE.failed("the request cannot be written"))?;
        // As text: the client would log an answer that it cannot parse.
        let answered = client.request_text(request).await.map(Zeroizing::new).map_err(|error| {
            let allow = format!(
                "allow the pod's service account the verb `create` on serviceaccounts/token with the name {service_account} in {namespace}"
            );
            let missing = format!("service account {service_account} in the namespace {namespace}");
            PURPOSE.refused(&error, allow, missing)
        })?;
        let mut answer: Answer = serde_json::from_str(&answered)
            .map_err(|_| PURPOSE.failed("the API server's answer holds no token").with_temporary(true))?;
        Ok(std::mem::take(&mut answer.status.token).into())
    }
}

#[async_trait]
impl TokenIssuer for AccountTokens {
    async fn issue(&self) -> Result<SecretValue> {
        let asking = tokio::time::timeout(WITHIN, self.ask());
        let issued = asking.await.unwrap_or_else(|_| {
            let reason = format!("the cluster did not answer within {WITHIN:?}");
            Err(PURPOSE.away(ErrorKind::Timeout, reason))
        });
        issued.map_err(|error| error.with("service_account", &self.request.service_account))
    }

    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn account(&self) -> String {
        let TokenRequest { service_account, namespace, .. } = &self.request;
        format!("{}/{service_account}", namespace.as_deref().unwrap_or_default())
    }
}

impl fmt::Debug for AccountTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountTokens").field("request", &self.request).finish_non_exhaustive()
    }
}

/// The part of an answer that is read; wiped when dropped.
#[derive(Deserialize)]
struct Answer {
    status: Issued,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// Tells whether a token for `audience` would be one for the API server, by the names that it has where nobody gave it others.
fn is_of_the_api(audience: &str) -> bool {
    let name = audience.strip_prefix("https://").unwrap_or(audience).trim_end_matches('/');
    let name = name.strip_suffix(":443").unwrap_or(name).to_ascii_lowercase();
    let rest = name.strip_prefix("kubernetes").and_then(|rest| rest.strip_prefix(".default"));
    rest.is_some_and(|rest| ["", ".svc"].contains(&rest) || rest.starts_with(".svc."))
}

/// A refusal of the cluster says nothing about what the login would be allowed: it is not a refusal of the secrets' source.
const PURPOSE: Purpose = Purpose { kind: ErrorKind::Unauthenticated, operation: "request token" };
/// Whom Vault's roles expect a token to be for, by convention.
const AUDIENCE: &str = "vault";
/// How long the cluster may take to answer.
const WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_s_own_names_are_known() {
        for own in [
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "https://kubernetes.default.svc:443/",
            "https://KUBERNETES.default.svc.k8s.company.com",
            "kubernetes.default.svc",
            "kubernetes.default",
        ] {
            assert!(is_of_the_api(own), "{own}");
        }
        for other in [
            "vault",
            "https://vault.company.com",
            "kubernetes.default.svc-vault",
            "https://kubernetes",
            "sts.amazonaws.com",
        ] {
            assert!(!is_of_the_api(other), "{other}");
        }
    }
}
