//! Credentials for the asking: EKS Pod Identity, and whatever speaks the same protocol.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>: the token is sent as it is, and read again each time.

use std::fmt;
use std::time::SystemTime;

use ::http::header::{AUTHORIZATION, HeaderValue};
use aws_credential_types::Credentials;
use jiff::Timestamp;
use keywheel_core::{Error, ErrorKind, Result};
use reqwest::{Method, Request};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::method::Agent;
use crate::aws::error::Refusal;
use crate::aws::http::Http;

/// Asks the agent.
///
/// # Errors
/// A token file that cannot be read (which is temporary: the kubelet writes it), no answer, or a refusal.
pub(super) async fn credentials(http: &Http, agent: &Agent) -> Result<Credentials> {
    let mut request = Request::new(Method::GET, agent.endpoint.clone());
    if let Some(source) = agent.token() {
        let token = source.token().await?;
        let header = HeaderValue::from_bytes(token.expose_secret());
        let mut header = header.map_err(|_| failed("the token has characters that no header can have"))?;
        header.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    let answer = http.send(request).await.map_err(|error| {
        // The agent of a node that has just begun may be later than the pod.
        error.in_operation(OPERATION).with_help("is the Pod Identity agent on this node?")
    })?;
    let status = answer.parts.status.as_u16();
    if status != 200 {
        let refused: Refused = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = refused.code.as_deref().unwrap_or_default();
        let refusal = Refusal { operation: OPERATION, code, message: "", status: Some(status) };
        return Err(refusal.error().with_help("check the pod identity association of the service account"));
    }
    let given: Given = serde_json::from_slice(&answer.body)
        .map_err(|_| failed("the answer holds no credentials").with("status", status))?;
    Ok(given.into_credentials())
}

fn failed(reason: &str) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION, reason)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
    expiration: Option<Timestamp>,
}

impl Given {
    fn into_credentials(self) -> Credentials {
        let token = self.token.as_ref().map(|token| token.to_string());
        let expiration = self.expiration.and_then(|at| SystemTime::try_from(at).ok());
        Credentials::new(
            self.access_key_id,
            self.secret_access_key.as_str(),
            token,
            expiration,
            "pod identity",
        )
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    #[serde(alias = "Code")]
    code: Option<String>,
}

const OPERATION: &str = "log in";
