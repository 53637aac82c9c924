//! `GET /v1/watch`: tells of each secret which version it has, and again when that changes (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::select_all;
use futures_util::stream;
use keywheel_core::engine::{Given, Offered};
use keywheel_core::{Clock, audit};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use zeroize::Zeroizing;

use super::admit::Refusal;
use super::answer::{self, Fields};
use super::{Offer, full_name};

/// Somebody who watches.
pub(super) struct Watching {
    offers: watch::Receiver<Offer>,
    secrets: Vec<Watched>,
    values: bool,
    by: String,
    clock: Clock,
    _place: OwnedSemaphorePermit,
}

struct Watched {
    offered: Offered,
    name: String,
    /// The revision that was told last; the first one is 1.
    told: u64,
}

#[derive(Serialize)]
struct Event<'a> {
    secret: &'a str,
    version: &'a str,
    #[serde(flatten)]
    fields: Option<Fields<'a>>,
}

impl Watching {
    /// Begins to watch what is offered now, until something else is.
    pub(super) fn new(
        mut offers: watch::Receiver<Offer>,
        values: bool,
        by: String,
        clock: Clock,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let offered = offers.borrow_and_update().secrets.to_vec();
        let watched = |offered: Offered| Watched { name: full_name(&offered), offered, told: 0 };
        let secrets = offered.into_iter().map(watched).collect();
        Self { offers, secrets, values, by, clock, _place: place }
    }

    /// Answers with the events. Where the configuration changes, or the program ends, so do they.
    pub(super) fn respond(self) -> Response {
        let events = stream::unfold(self, async |mut watching| {
            let event = watching.next().await?;
            Some((Ok::<_, Infallible>(event), watching))
        });
        answer::stream(StatusCode::OK, "text/event-stream", Body::from_stream(events))
    }

    async fn next(&mut self) -> Option<Bytes> {
        let silent_until = self.clock.instant() + SILENCE;
        loop {
            if let Some(event) = self.untold() {
                return Some(event);
            }
            let clock = self.clock.clone();
            tokio::select! {
                _ = self.offers.changed() => return None,
                () = changed(&mut self.secrets) => {}
                () = clock.sleep_until(silent_until) => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }

    /// Returns the first event that was not told.
    fn untold(&mut self) -> Option<Bytes> {
        let (values, by) = (self.values, &self.by);
        self.secrets.iter_mut().find_map(|watched| {
            let given = watched.offered.newest().ok().filter(|given| given.revision != watched.told)?;
            watched.told = given.revision;
            let event = event(watched, &given, values).ok()?;
            if values {
                audit::given(watched.offered.reference(), &watched.name, given.version(), by);
            }
            Some(event)
        })
    }
}

fn event(watched: &Watched, given: &Given, values: bool) -> Result<Bytes, Refusal> {
    let fields = values.then(|| Fields::of(&watched.offered, given, None)).transpose()?;
    let size = fields.as_ref().map_or(0, Fields::size);
    let event = Event { secret: &watched.name, version: given.version().as_str(), fields };
    let json = answer::json(&event, size)?;
    let mut text = Zeroizing::new(Vec::with_capacity(json.len() + 8));
    for part in [b"data: ", &json[..], b"\n\n"] {
        text.extend_from_slice(part);
    }
    Ok(Bytes::from_owner(text))
}

/// Waits until one of them may say something else; for ever where there are none.
async fn changed(secrets: &mut [Watched]) {
    if secrets.is_empty() {
        std::future::pending::<()>().await;
    }
    select_all(secrets.iter_mut().map(|watched| Box::pin(watched.offered.changed()))).await;
}

/// After how long without an event something is said all the same.
const SILENCE: Duration = Duration::from_secs(15);
