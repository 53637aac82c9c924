//! Plain HTTP for the kubelet and for Prometheus: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::WebhookError;
use super::certificate::Served;
use super::metrics::Metrics;

/// Answers until it is told to stop.
pub(super) async fn run(
    listener: TcpListener,
    served: Served,
    metrics: Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), WebhookError> {
    let ready = served.clone();
    let readyz = async move || match ready.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "there is no certificate that the API server trusts, or this replica stops\n",
        ),
    };
    let shown = async move || {
        (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            metrics.write(served.ends_at()),
        )
    };
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(shown));
    let stop = async move {
        // A dropped sender stops it, too.
        stopped.wait_for(|stop| *stop).await.ok();
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(|error| WebhookError {
        reason: format!("the probes' server ended: {error}"),
        is_denied: false,
    })
}
