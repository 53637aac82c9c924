//! The admin endpoint of `rotate serve`: `/livez`, `/readyz`, `/status` and `/metrics` show names, versions, times and errors; `POST /incidents` has
//! rotations begin at once.

mod incidents;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use keywheel_core::Clock;
use keywheel_core::incident::IncidentsConfig;
use keywheel_core::rotation::{Look, ServerHandle};

use self::incidents::Incidents;
use super::report::{self, Report};
use crate::exit::Failure;

#[derive(Clone, Debug)]
struct Shared {
    server: ServerHandle,
    clock: Clock,
    incidents: Option<Arc<Incidents>>,
}

/// Answers for the rotations of a server.
///
/// # Errors
/// The token of `incidents` cannot be read, or is too short.
pub(super) async fn router(
    server: &ServerHandle,
    incidents: Option<IncidentsConfig>,
    clock: &Clock,
) -> Result<Router, Failure> {
    let incidents = match incidents {
        Some(config) => Some(Arc::new(Incidents::try_new(config, server, clock).await?)),
        None => None,
    };
    let mut router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics));
    if incidents.is_some() {
        router = router.route("/incidents", post(report_incident));
    }
    Ok(router.with_state(Shared { server: server.clone(), clock: clock.clone(), incidents }))
}

/// Ready is who has looked at every rotation, and failed at none last.
async fn readyz(State(shared): State<Shared>) -> Response {
    let looks = shared.server.looks();
    let is_ready = |look: &Look| look.standing.is_some() && look.error.is_none();
    let code = if looks.iter().all(is_ready) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let line = |look: &Look| match (&look.error, &look.standing) {
        (Some(error), _) => format!("{}: {error}\n", look.name),
        (None, Some(_)) => format!("{}: ready\n", look.name),
        (None, None) => format!("{}: not looked at yet\n", look.name),
    };
    (code, looks.iter().map(line).collect::<String>()).into_response()
}

/// As `keywheel rotate status --json`.
async fn status(State(shared): State<Shared>) -> Response {
    let reports: Vec<Report> = shared.server.looks().into_iter().map(Report::of_last).collect();
    let content_type = (header::CONTENT_TYPE, "application/json");
    ([content_type], report::write(&reports, true, shared.clock.now())).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    let outcomes = shared.incidents.as_ref().map(|incidents| incidents.outcomes());
    ([content_type], metrics::write(&shared.server.looks(), outcomes.as_ref())).into_response()
}

async fn report_incident(State(shared): State<Shared>, request: axum::extract::Request) -> Response {
    match shared.incidents {
        Some(incidents) => incidents.report(request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
