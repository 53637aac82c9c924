//! The admin endpoint: `/livez`, `/readyz`, `/status` and `/metrics`. It shows names, versions, times and errors; it changes nothing.

mod metrics;

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Router, serve};
use keywheel_core::config::Listen;
use keywheel_core::engine::{DeliveryStatus, StatusHandle};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tracing::{error, info};

use crate::exit::Failure;

/// A listener that is bound and not yet served.
#[derive(Debug)]
pub(crate) enum Admin {
    Tcp(TcpListener),
    Unix(UnixListener),
}

type Seen = watch::Receiver<StatusHandle>;

impl Admin {
    /// Binds the address, or the socket (with mode 0600; a socket that an earlier run left is replaced).
    pub(crate) async fn bind(listen: &Listen) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::other(format!("cannot listen for the admin endpoint on {listen:?}: {error}"))
        };
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                if let Ok(bound) = listener.local_addr() {
                    info!(address = %bound, "the admin endpoint listens");
                }
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => bind_socket(path).map(Self::Unix).map_err(failed),
        }
    }

    /// Answers until it is dropped; `status` may be replaced by that of another engine at any time.
    pub(crate) async fn run(self, status: Seen) {
        let router = router(status);
        let ended = match self {
            Self::Tcp(listener) => serve(listener, router).await,
            Self::Unix(listener) => serve(listener, router).await,
        };
        if let Err(error) = ended {
            error!(%error, "the admin endpoint ended");
        }
    }
}

fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn router(status: Seen) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(async |State(status): State<Seen>| Json(now(&status).status())))
        .route("/metrics", get(metrics))
        .with_state(status)
}

async fn readyz(State(status): State<Seen>) -> Response {
    let status = now(&status).status();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines: String = status
        .deliveries
        .iter()
        .map(|delivery| format!("{}: {}\n", delivery.name, standing(delivery)))
        .collect();
    (code, lines).into_response()
}

async fn metrics(State(status): State<Seen>) -> Response {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([content_type], metrics::write(&now(&status).status())).into_response()
}

fn now(status: &Seen) -> StatusHandle {
    status.borrow().clone()
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
        (_, _, false) => format!("waits for {}", unread.join(", ")),
        _ => "not delivered yet".into(),
    }
}
