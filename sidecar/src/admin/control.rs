//! What somebody may ask for at the admin endpoint: `POST /refresh` and `POST /quit`.

use std::time::Duration;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use keywheel_sidecar::peer::{Peer, is_browser};
use tracing::info;

use super::Shared;
use super::guard::{self, Asker};

/// Has deliveries made now: those that `?name=` names, or all. Answers with what came of each.
pub(super) async fn refresh(State(shared): State<Shared>, parts: Parts) -> Response {
    if let Some(refused) = refused(&parts) {
        return refused;
    }
    let names: Vec<String> = parts
        .uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter_map(|pair| pair.strip_prefix("name=").map(str::to_owned))
        .collect();
    let refresher = shared.seen.borrow().refresh.clone();
    match refresher.refresh(&names, WITHIN).await {
        Ok(deliveries) => {
            let all_are_new = deliveries.iter().all(|delivery| delivery.error.is_none());
            let code = if all_are_new { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
            (code, Json(deliveries)).into_response()
        }
        Err(error) => (StatusCode::NOT_FOUND, format!("{}\n", error.reason())).into_response(),
    }
}

/// Ends the program as SIGTERM does.
pub(super) async fn quit(State(shared): State<Shared>, parts: Parts) -> Response {
    if let Some(refused) = refused(&parts) {
        return refused;
    }
    info!("somebody asked for an end at the admin endpoint");
    shared.quit.notify_one();
    (StatusCode::ACCEPTED, "ends\n").into_response()
}

fn refused(parts: &Parts) -> Option<Response> {
    let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.ip());
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let reason = guard::refusal(Asker { peer, host, is_browser: is_browser(&parts.headers) })?;
    Some((StatusCode::FORBIDDEN, reason).into_response())
}

/// How long a refresh is waited for: sources may take ten seconds, notifiers as long again and more.
const WITHIN: Duration = Duration::from_secs(60);
