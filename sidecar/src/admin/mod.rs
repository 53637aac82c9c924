//! The admin endpoint: `/livez`, `/readyz`, `/status` and `/metrics` show names, versions, times and errors; `POST /refresh` and `POST /quit` ask
//! for something.

mod answering;
pub(crate) mod client;
mod control;
mod guard;
pub(crate) mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use keywheel_core::engine::{DeliveryStatus, Engine, RefreshHandle, Status, StatusHandle};
use tokio::sync::{Notify, watch};

pub(crate) use self::answering::answering;

/// What the endpoint shows and asks: the engine that runs now.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    status: StatusHandle,
    refresh: RefreshHandle,
}

impl Served {
    /// Takes what an engine shows and can be asked for.
    pub(crate) fn of(engine: &Engine) -> Self {
        Self { status: engine.status(), refresh: engine.refresher() }
    }
}

/// The engine that runs now; another one may take its place.
pub(crate) type Seen = watch::Receiver<Served>;

#[derive(Clone, Debug)]
struct Shared {
    seen: Seen,
    quit: Arc<Notify>,
}

/// Answers for an agent; what is `seen` may be replaced by that of another engine at any time. `quit` is notified when somebody asks for an end.
pub(crate) fn router(seen: &Seen, quit: &Arc<Notify>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(async |State(shared): State<Shared>| Json(status(&shared))))
        .route("/metrics", get(metrics))
        .route("/refresh", post(control::refresh))
        .route("/quit", post(control::quit))
        .with_state(Shared { seen: seen.clone(), quit: Arc::clone(quit) })
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let status = status(&shared);
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines: String = status
        .deliveries
        .iter()
        .map(|delivery| format!("{}: {}\n", delivery.name, standing(delivery)))
        .collect();
    (code, lines).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([content_type], metrics::write(&status(&shared))).into_response()
}

fn status(shared: &Shared) -> Status {
    let handle = shared.seen.borrow().status.clone();
    handle.status()
}

fn standing(delivery: &DeliveryStatus) -> String {
    let stale: Vec<String> = delivery
        .secrets
        .iter()
        .filter(|secret| secret.stale || secret.ended)
        .map(|secret| match (secret.ended, secret.lease_deadline, secret.confirmed_at) {
            (true, Some(at), _) => format!("{} has ended at {at:.0}", secret.name),
            (_, _, Some(at)) => format!("{} is stale since {at:.0}", secret.name),
            _ => format!("{} is stale", secret.name),
        })
        .collect();
    let unread: Vec<&str> = delivery
        .secrets
        .iter()
        .filter(|secret| secret.version.is_none())
        .map(|secret| secret.name.as_str())
        .collect();
    match (delivery.is_ready(), stale.is_empty(), unread.is_empty()) {
        (true, ..) => "ready".into(),
        (_, false, _) => stale.join(", "),
        _ if delivery.withdrawn => "the files were taken away: a source refuses".into(),
        _ if delivery.untold => "the application could not be told".into(),
        (_, _, false) => format!("waits for {}", unread.join(", ")),
        _ => "not delivered yet".into(),
    }
}
