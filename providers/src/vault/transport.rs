//! Sends requests to the server: where, with which headers, how long and how much.
//!
//! `vaultrs`' endpoints say what to ask. They are not executed by rustify's own client, which follows redirects with the token,
//! loses the headers of a refusal, keeps bodies in its errors and logs each failure as an error.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, RETRY_AFTER};
use http::{HeaderMap, Method};
use keywheel_core::layer::{Budget, Permit};
use keywheel_core::registry::Context;
use keywheel_core::{Clock, Error, ErrorKind, Result, SecretValue};
use rustify::endpoint::Endpoint;
use serde::de::DeserializeOwned;
use tracing::debug;
use url::Url;
use zeroize::Zeroizing;

use super::error;
use super::settings::Settings;
use crate::https::{self, Body, Peer, Residue, retry_after, tls};

/// The way to one server.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    host: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
    budget: Arc<Budget>,
    timeout: Duration,
    clock: Clock,
    peer: Peer,
    residue: Residue,
}

/// One request, ready to be sent, and sent again.
pub(super) struct Call {
    operation: &'static str,
    method: Method,
    path: String,
    url: Url,
    body: Zeroizing<Vec<u8>>,
}

/// What the server answered, whatever its status; the body is wiped when dropped.
pub(super) struct Answer {
    pub(super) operation: &'static str,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    body: Zeroizing<Vec<u8>>,
}

impl Transport {
    /// Makes the way to the server that `settings` name.
    ///
    /// # Errors
    /// A certificate or key file that cannot be read or does not parse.
    pub(super) fn try_new(settings: &Settings, context: &Context) -> Result<Self> {
        let address = &settings.address;
        let (http, endpoint) = tls::client(address, &settings.tls, None)?;
        let mut base = endpoint;
        base.path_segments_mut()
            .map_err(|()| Error::config("connect", "the address cannot be a base"))?
            .pop_if_empty()
            .push("v1");
        let header = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| Error::config("connect", "the namespace has characters that no header can have"))
        };
        Ok(Self {
            http,
            host: settings.tls.server_name.as_ref().map(|_| header(&authority(address))).transpose()?,
            namespace: settings.namespace.as_deref().map(header).transpose()?,
            base,
            budget: Arc::clone(&context.budget),
            timeout: settings.timeout.unwrap_or(context.timeout),
            residue: Residue::new(context.clock.clone()),
            clock: context.clock.clone(),
            peer: Peer {
                address: format!("{}://{}", address.scheme(), authority(address)),
                ca: settings.tls.ca.clone(),
                ca_variable: "VAULT_CACERT",
            },
        })
    }

    /// Returns scheme, host and port of the server.
    pub(super) fn address(&self) -> &str {
        &self.peer.address
    }

    /// Prepares what `endpoint` asks, as part of `operation`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it cannot be written as a request.
    pub(super) fn call(&self, operation: &'static str, endpoint: &impl Endpoint) -> Result<Call> {
        // Never shown: these errors' `Debug` and sources may quote the request.
        let unwritable = |_| Error::new(ErrorKind::Invalid, operation, "the request cannot be written");
        let path = endpoint.path();
        // Some of vaultrs' paths begin with a slash, and two with a tab.
        let path = path.trim_start_matches(['/', '\t']).to_owned();
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.split('/'));
        }
        let query = endpoint.query().map_err(unwritable)?;
        url.set_query(query.as_deref().filter(|query| !query.is_empty()));
        Ok(Call {
            operation,
            method: endpoint.method().into(),
            path,
            url,
            body: endpoint.body().map_err(unwritable)?.unwrap_or_default().into(),
        })
    }

    /// Sends `call` once: waits for the budget, then at most the time-out.
    ///
    /// # Errors
    /// No answer, a redirect, or one that is too large. Any other status is an answer.
    pub(super) async fn send(&self, call: &Call, token: Option<&SecretValue>) -> Result<Answer> {
        let permit = self.budget.acquire().await;
        self.send_with(permit, call, token).await
    }

    /// Sends `call` as [`send`](Self::send) does, after all that cannot wait.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub(super) async fn probe(&self, call: &Call, token: Option<&SecretValue>) -> Result<Answer> {
        let permit = self.budget.spare().await;
        self.send_with(permit, call, token).await
    }

    async fn send_with(
        &self,
        _permit: Permit<'_>,
        call: &Call,
        token: Option<&SecretValue>,
    ) -> Result<Answer> {
        let request = self.request(call, token)?;
        // Boxed: a thousand requests that wait for their turn would each carry room for it.
        let exchange = Box::pin(self.exchange(call, request));
        let result = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => {
                let reason = format!("the server did not answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Timeout, call.operation, reason))
            }
        };
        if !VALUELESS.contains(&call.operation) {
            self.residue.note();
        }
        match &result {
            Ok(answer) => debug!(method = %call.method, path = call.path, status = answer.status, "asked"),
            Err(error) => {
                debug!(method = %call.method, path = call.path, kind = error.kind().as_str(), "no answer")
            }
        }
        result.map_err(|error| error.with("server", &self.peer.address).with("path", &call.path))
    }

    fn request(&self, call: &Call, token: Option<&SecretValue>) -> Result<reqwest::Request> {
        let mut request = reqwest::Request::new(call.method.clone(), call.url.clone());
        let headers = request.headers_mut();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", namespace.clone());
        }
        if self.residue.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_bytes(token.expose_secret()).map_err(|_| {
                let reason = "the token has characters that no header can have";
                Error::new(ErrorKind::Unauthenticated, call.operation, reason)
            })?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        if !call.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(call.body.to_vec().into());
        }
        Ok(request)
    }

    async fn exchange(&self, call: &Call, request: reqwest::Request) -> Result<Answer> {
        let unreachable = |error: reqwest::Error| https::unreachable(call.operation, &error, &self.peer);
        let mut response = https::execute(&self.http, request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        if let Some(target) = redirect(status, response.headers(), &self.base) {
            return Err(error::redirected(call.operation, status, &target));
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| retry_after(text, self.clock.now()));
        let mut body = Body::with_capacity(response.content_length());
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if !body.push(&chunk) {
                return Err(Body::too_large(call.operation).with("status", status));
            }
        }
        let body = body.into_bytes();
        Ok(Answer { operation: call.operation, path: call.path.clone(), status, retry_after, body })
    }
}

impl Answer {
    /// Tells whether the server did what it was asked.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]; the message says where the body is wrong and quotes nothing of it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let reason = match error.classify() {
                serde_json::error::Category::Eof => "the answer broke off".to_owned(),
                _ => format!("the answer is not what was expected, at its byte {}", self.offset(&error)),
            };
            let error = Error::new(ErrorKind::Invalid, self.operation, reason);
            error.with("status", self.status).with("path", &self.path)
        })
    }

    /// Tells whether the server's own words hold `text`. They are looked at and never passed on.
    pub(super) fn says(&self, text: &str) -> bool {
        let body = &self.body[..self.body.len().min(MAX_WORDS)];
        body.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
    }

    fn offset(&self, error: &serde_json::Error) -> usize {
        let lines = self.body.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
        before + error.column()
    }
}

/// Returns where a redirect points to: scheme, host and port alone.
fn redirect(status: u16, headers: &HeaderMap, base: &Url) -> Option<String> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| base.join(location).ok());
    Some(match target {
        Some(target) => format!("{}://{}", target.scheme(), authority(&target)),
        None => "nowhere".into(),
    })
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What neither the request nor its answer holds a secret for, but the token.
const VALUELESS: [&str; 6] =
    ["find mount", "list versions", "look up lease", "read metadata", "renew lease", "revoke lease"];

const MAX_WORDS: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_redirect_points_elsewhere_and_only_its_host_is_shown() {
        let base = Url::parse("https://vault.test:8200/v1").unwrap();
        let to = |status, location: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
            redirect(status, &headers, &base)
        };
        assert_eq!(to(307, "http://u:c4n4ry@other.test/c4n4ry?x=c4n4ry").unwrap(), "http://other.test");
        assert_eq!(to(301, "/elsewhere").unwrap(), "https://vault.test:8200");
        assert_eq!(to(308, "http://[").unwrap(), "nowhere");
        assert_eq!(to(304, "/elsewhere"), None);
    }
}
