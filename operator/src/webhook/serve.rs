//! HTTPS for the API server.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use keywheel_core::Clock;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::WebhookError;
use super::body::Room;
use super::certificate::Served;
use super::metrics::Metrics;
use super::review::{Problem, answer};
use crate::accept::{self, Service};
use crate::inject::Injector;

/// What every answer is made with.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) injector: Arc<Injector>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) room: Room,
}

/// Answers until it is told to stop, and lets what is under way come to its end.
pub(super) async fn run(
    listener: TcpListener,
    served: Served,
    shared: Shared,
    stopped: watch::Receiver<bool>,
) -> Result<(), WebhookError> {
    let service = Service { acceptor: Some(acceptor(served)?), router: router(shared), most: MOST };
    accept::run(listener, service, stopped).await;
    Ok(())
}

fn acceptor(served: Served) -> Result<TlsAcceptor, WebhookError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions =
        versions.map_err(|error| WebhookError { reason: format!("no TLS: {error}"), is_denied: false })?;
    let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(served));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn router(shared: Shared) -> Router {
    Router::new().route("/inject", post(inject)).with_state(shared)
}

async fn inject(State(shared): State<Shared>, request: Request) -> Response {
    let (verdict, response) = match shared.room.read(request.into_body()).await {
        Ok(body) => {
            let begun = shared.clock.instant();
            let answered = answered(&body.bytes, &shared.injector);
            shared.metrics.time(begun.elapsed());
            answered
        }
        Err((status, reason)) => ("malformed", refused(status, reason)),
    };
    shared.metrics.count(verdict);
    response
}

/// Answers what has come in whole, with the word for what comes of it.
fn answered(body: &[u8], injector: &Injector) -> (&'static str, Response) {
    match answer(body, injector) {
        Ok(reply) => {
            info!(pod = reply.pod, verdict = reply.verdict, "answered a review");
            let json = [(header::CONTENT_TYPE, "application/json")];
            (reply.verdict, (json, reply.body).into_response())
        }
        Err(Problem(reason)) => ("malformed", refused(StatusCode::BAD_REQUEST, &reason)),
    }
}

fn refused(status: StatusCode, reason: &str) -> Response {
    warn!(status = status.as_u16(), reason, "something is no review");
    (status, format!("{reason}\n")).into_response()
}

/// A connection takes 25 kB, and with more of them nobody would be answered any sooner. Where others wait for a place, one is for a single question.
const MOST: (usize, usize) = (400, 100);
