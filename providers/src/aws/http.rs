//! Sends what the SDK asks to be sent: the one connector of all its clients, and of the identities' own requests.
//!
//! Each request takes from the budget and has a bound in time and size. Nothing is built before the first request: a provider that nobody asks
//! costs no authorities and no connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use keywheel_core::layer::Budget;
use keywheel_core::registry::Context;
use keywheel_core::{Error, ErrorKind, Result};
use reqwest::Client;
use tokio::sync::OnceCell;
use tracing::debug;
use url::Url;
use zeroize::Zeroizing;

use super::error::CONNECT;
use super::settings::Settings;
use crate::authorities::Authorities;
use crate::https::tls::{self, TlsSettings};
use crate::https::{self, Body, Peer, unreachable};

/// The way to AWS. Cheap to clone: all clones share connections and budget.
#[derive(Clone)]
pub(super) struct Http {
    shared: Arc<Shared>,
    /// How long one request may take.
    timeout: Duration,
}

struct Shared {
    tls: TlsSettings,
    encrypted: OnceCell<Client>,
    /// For `http://`: needs no authorities, and reaches this host and the link, where no proxy is asked.
    plain: OnceCell<Client>,
    budget: Arc<Budget>,
}

/// What was answered, whatever its status; the body is wiped when dropped.
pub(super) struct Answer {
    pub(super) parts: ::http::response::Parts,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Http {
    /// Makes the way; builds nothing.
    pub(super) fn new(settings: &Settings, context: &Context) -> Self {
        let shared = Shared {
            tls: TlsSettings {
                ca: settings.ca_file.clone().map(Authorities::File),
                ..TlsSettings::default()
            },
            encrypted: OnceCell::new(),
            plain: OnceCell::new(),
            budget: Arc::clone(&context.budget),
        };
        Self { shared: Arc::new(shared), timeout: context.timeout }
    }

    /// Sends a request once: waits for the budget, then at most the time-out.
    ///
    /// # Errors
    /// No answer, or one that is too large. Any status is an answer.
    pub(super) async fn send(&self, request: reqwest::Request) -> Result<Answer> {
        let _permit = self.shared.budget.acquire().await;
        let peer = self.peer(request.url());
        let result = match tokio::time::timeout(self.timeout, self.exchange(request, &peer)).await {
            Ok(result) => result,
            Err(_) => {
                let reason = format!("the server did not answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Timeout, CONNECT, reason))
            }
        };
        match &result {
            Ok(answer) => debug!(server = peer.address, status = answer.parts.status.as_u16(), "asked"),
            Err(error) => debug!(server = peer.address, kind = error.kind().as_str(), "no answer"),
        }
        result.map_err(|error| error.with("server", &peer.address))
    }

    async fn exchange(&self, request: reqwest::Request, peer: &Peer) -> Result<Answer> {
        let unanswered = |error: reqwest::Error| unreachable(CONNECT, &error, peer);
        let client = self.client(request.url()).await?;
        let mut response = https::execute(client, request).await.map_err(unanswered)?;
        let mut body = Body::with_capacity(response.content_length());
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if !body.push(&chunk) {
                return Err(Body::too_large(CONNECT).with("status", response.status().as_u16()));
            }
        }
        let (parts, _) = ::http::Response::<reqwest::Body>::from(response).into_parts();
        Ok(Answer { parts, body: body.into_bytes() })
    }

    async fn client(&self, url: &Url) -> Result<&Client> {
        let (cell, origin) = match url.scheme() {
            "http" => (&self.shared.plain, PLAIN),
            _ => (&self.shared.encrypted, ENCRYPTED),
        };
        let tls = &self.shared.tls;
        cell.get_or_try_init(|| async {
            let tls = tls.clone();
            // The system's authorities are hundreds of files or one large one.
            let build = move || {
                let origin = Url::parse(origin).map_err(|_| Error::config(CONNECT, "no such origin"))?;
                tls::client(&origin, &tls, Some(CONNECT_WITHIN)).map(|(client, _)| client)
            };
            match tokio::task::spawn_blocking(build).await {
                Ok(client) => client,
                Err(_) => Err(Error::new(ErrorKind::Unavailable, CONNECT, "the client was not built")),
            }
        })
        .await
    }

    fn peer(&self, url: &Url) -> Peer {
        Peer {
            address: url.origin().ascii_serialization(),
            ca: self.shared.tls.ca.clone(),
            ca_variable: "AWS_CA_BUNDLE",
        }
    }

    async fn call(&self, request: HttpRequest) -> Result<HttpResponse> {
        let unwritable = || Error::new(ErrorKind::Invalid, CONNECT, "the request cannot be written");
        let request = request.try_into_http1x().map_err(|_| unwritable())?;
        let request = request.map(|body| body.bytes().map(<[u8]>::to_vec).unwrap_or_default());
        let request = reqwest::Request::try_from(request).map_err(|_| unwritable())?;
        let Answer { parts, body } = self.send(request).await?;
        let response = ::http::Response::from_parts(parts, SdkBody::from(body.as_slice()));
        HttpResponse::try_from(response)
            .map_err(|_| Error::new(ErrorKind::Invalid, CONNECT, "the answer's headers are not text"))
    }
}

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The instance's metadata service is asked with times of its own: where it is not, nothing answers.
        let bound = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or_default());
        let timeout = bound.map_or(self.timeout, |bound| bound.min(self.timeout));
        SharedHttpConnector::new(Self { timeout, ..self.clone() })
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.clone();
        HttpConnectorFuture::new(async move {
            // Travels through the SDK as it is; `error` finds it again.
            http.call(request).await.map_err(|error| ConnectorError::other(Box::new(error), None))
        })
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// How long a connection may take to be there: the address of a region that is down may swallow everything.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const PLAIN: &str = "http://127.0.0.1";
const ENCRYPTED: &str = "https://amazonaws.com";
