//! Plain HTTP for the kubelet and for Prometheus: `/livez`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use keywheel_core::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::board::Board;
use crate::accept::{self, Service};

/// How a replica does.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// When the cluster last answered about the Lease.
    pub(super) answered_at: watch::Receiver<Option<Instant>>,
    /// Whether it is the leader.
    pub(super) leads: watch::Receiver<bool>,
    pub(super) board: Board,
}

impl Health {
    /// Ready is who leads, or could: it speaks to the cluster.
    fn is_ready(&self, now: Instant) -> bool {
        self.answered_at.borrow().is_some_and(|at| now.saturating_duration_since(at) < SILENCE)
    }
}

/// Answers until it is told to stop.
pub(super) async fn run(listener: TcpListener, health: Health, clock: Clock, stopped: watch::Receiver<bool>) {
    let shown = health.clone();
    let metrics = async move || {
        let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        ([content_type], shown.board.write(*shown.leads.borrow()))
    };
    let readyz = async move || match health.is_ready(clock.instant()) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not answered about the lease lately\n"),
    };
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics));
    accept::run(listener, Service { acceptor: None, router, most: MOST }, stopped).await;
}

/// After how long without an answer a replica could not lead.
const SILENCE: Duration = Duration::from_secs(30);
/// The kubelet and a few that collect metrics.
const MOST: (usize, usize) = (64, 16);
