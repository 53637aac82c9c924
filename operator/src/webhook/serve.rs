//! HTTPS for the API server: bounded in connections, time and size, each connection a task that is waited for.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use keywheel_core::Clock;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::WebhookError;
use super::certificate::Served;
use super::metrics::Metrics;
use super::review::{Problem, answer};
use crate::inject::Injector;

/// What every answer is made with.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) injector: Arc<Injector>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

/// Answers until it is told to stop, and lets what is under way come to its end.
pub(super) async fn run(
    listener: TcpListener,
    served: Served,
    shared: Shared,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), WebhookError> {
    let acceptor = acceptor(served)?;
    let router = router(shared);
    let places = Arc::new(Semaphore::new(MOST));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        // A place first: what there is no place for waits in the kernel's queue.
        let place = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok(place) = place else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let watcher = graceful.watcher();
                let serving = Connection { place, acceptor: acceptor.clone(), router: router.clone() };
                connections.spawn(serving.run(stream, watcher));
            }
            Err(error) => {
                // No file descriptor is free, say: the next moment may be another one.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(LAST, graceful.shutdown()).await.is_err() {
        warn!("connections that did not end are cut off");
    }
    connections.shutdown().await;
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

struct Connection {
    place: OwnedSemaphorePermit,
    acceptor: TlsAcceptor,
    router: Router,
}

impl Connection {
    async fn run(self, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        // A small answer is not held back for more.
        stream.set_nodelay(true).ok();
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await else {
            debug!("a connection ended before TLS began");
            return;
        };
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        if let Err(error) = watcher.watch(serving).await {
            debug!(%error, "a connection ended");
        }
        drop(self.place);
    }
}

fn router(shared: Shared) -> Router {
    Router::new().route("/inject", post(inject)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(shared)
}

async fn inject(State(shared): State<Shared>, request: axum::extract::Request) -> Response {
    let begun = shared.clock.instant();
    let body =
        tokio::time::timeout(BODY, <Bytes as axum::extract::FromRequest<_>>::from_request(request, &()))
            .await;
    let (verdict, response) = match body {
        Ok(Ok(body)) => match answer(&body, &shared.injector) {
            Ok(reply) => {
                info!(pod = reply.pod, verdict = reply.verdict, "answered a review");
                let json = [(header::CONTENT_TYPE, "application/json")];
                (reply.verdict, (json, reply.body).into_response())
            }
            Err(Problem(reason)) => ("malformed", refused(StatusCode::BAD_REQUEST, &reason)),
        },
        Ok(Err(rejection)) => ("malformed", unread(&rejection)),
        Err(_) => ("malformed", refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    };
    shared.metrics.count(verdict, begun.elapsed());
    response
}

fn unread(rejection: &BytesRejection) -> Response {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 4 MiB, which no review is")
        }
        status => refused(status, "the body could not be read"),
    }
}

fn refused(status: StatusCode, reason: &str) -> Response {
    warn!(status = status.as_u16(), reason, "something is no review");
    (status, format!("{reason}\n")).into_response()
}

/// The API server itself takes requests of up to 3 MiB.
const MAX_BODY: usize = 4 << 20;
const MOST: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(10);
/// For how long a connection may say nothing; the API server keeps its own for 90 s.
const IDLE: Duration = Duration::from_secs(120);
const BREATH: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);
