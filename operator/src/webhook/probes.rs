//! Plain HTTP for the kubelet and for Prometheus: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use keywheel_core::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::certificate::Served;
use super::metrics::Metrics;
use crate::accept::{self, Service};

/// Answers until it is told to stop.
pub(super) async fn run(
    listener: TcpListener,
    served: Served,
    metrics: Arc<Metrics>,
    clock: Clock,
    stopped: watch::Receiver<bool>,
) {
    let ready = served.clone();
    let readyz = async move || match ready.is_ready(clock.now()) {
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
    accept::run(listener, Service { acceptor: None, router, most: MOST }, stopped).await;
}

/// The kubelet and a few that collect metrics.
const MOST: (usize, usize) = (64, 16);
