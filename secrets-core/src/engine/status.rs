//! How the deliveries stand, for `/status`, `/readyz` and whoever asks. Names, versions, times and errors; never a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::delivery::{Input, Inputs, State};
use crate::clock::Clock;
use crate::meter::{Meter, Reading};
use crate::transaction::Versions;

/// The standing of every delivery at a moment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// That moment.
    #[serde(default)]
    pub at: Timestamp,
    /// Whether every delivery has a generation, every secret beside them a value, and no secret has ended or is staler than it may be.
    pub ready: bool,
    /// The deliveries, in the order of the configuration.
    pub deliveries: Vec<DeliveryStatus>,
    /// The secrets that are kept beside the deliveries, by their references.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<SecretStatus>,
    /// What the providers were asked, by their names.
    #[serde(default)]
    pub providers: BTreeMap<String, Reading>,
}

/// The standing of one delivery.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DeliveryStatus {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub directory: String,
    /// The generation that readers see; none until the first was made by this process or found to be right.
    pub generation: Option<String>,
    /// When that generation became visible, or was found to be right.
    pub delivered_at: Option<Timestamp>,
    /// Why the newest values are not delivered, or the application was not told.
    pub error: Option<String>,
    /// Where its last change is: `idle`, `publishing`, `telling`, `verifying` or `rolling back`.
    #[serde(default)]
    pub phase: String,
    /// Until when a change waits for its window.
    pub held_until: Option<Timestamp>,
    /// The versions that were rejected, by the secrets' names: they are not tried again until they change or somebody asks.
    pub rejected: Option<Versions>,
    /// How often this process went back to an earlier generation.
    #[serde(default)]
    pub rollbacks: u64,
    /// Whether somebody who has to be told of the generation could not be.
    #[serde(default)]
    pub untold: bool,
    /// Whether the files were taken away, since a source refuses.
    #[serde(default)]
    pub withdrawn: bool,
    /// Its secrets by name.
    pub secrets: Vec<SecretStatus>,
}

/// The standing of one secret in a delivery.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SecretStatus {
    /// Its name in the delivery.
    pub name: String,
    /// What it refers to.
    pub reference: String,
    /// The newest version that was read.
    pub version: Option<String>,
    /// When the source last confirmed that version.
    pub confirmed_at: Option<Timestamp>,
    /// When the source is asked next.
    pub next_at: Option<Timestamp>,
    /// When the value ends, where that is known: its lease's end, or that of the login behind it.
    pub lease_deadline: Option<Timestamp>,
    /// Whether its source has not confirmed it for longer than `max_stale`.
    pub stale: bool,
    /// Whether the value has ended, and there is no newer one.
    pub ended: bool,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Tells the standing at any moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusHandle {
    deliveries: Vec<Watched>,
    beside: Inputs,
    meters: BTreeMap<String, Arc<Meter>>,
    clock: Clock,
}

/// What a [`StatusHandle`] sees of one delivery.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) directory: String,
    pub(super) state: watch::Receiver<State>,
    pub(super) inputs: Inputs,
}

impl StatusHandle {
    pub(super) fn new(deliveries: Vec<Watched>, beside: Inputs, clock: Clock) -> Self {
        Self { deliveries, beside, meters: BTreeMap::new(), clock }
    }

    /// Adds what counts the providers' calls.
    pub(super) fn with_meters(mut self, meters: BTreeMap<String, Arc<Meter>>) -> Self {
        self.meters = meters;
        self
    }

    /// Returns the standing now.
    pub fn status(&self) -> Status {
        let now = self.clock.now();
        let deliveries: Vec<DeliveryStatus> =
            self.deliveries.iter().map(|delivery| delivery.status(now)).collect();
        let beside: Vec<SecretStatus> =
            self.beside.iter().map(|(name, input)| secret_status(name, input, None, now)).collect();
        let ready = deliveries.iter().all(DeliveryStatus::is_ready)
            && beside.iter().all(|secret| secret.version.is_some() && !secret.ended);
        let providers = self.meters.iter().map(|(name, meter)| (name.clone(), meter.reading())).collect();
        Status { at: now, ready, deliveries, beside, providers }
    }
}

impl DeliveryStatus {
    /// Tells whether an application may rely on the files.
    pub fn is_ready(&self) -> bool {
        let delivered = self.generation.is_some() && !self.withdrawn && !self.untold;
        delivered && !self.secrets.iter().any(|secret| secret.stale || secret.ended)
    }
}

impl Watched {
    fn status(&self, now: Timestamp) -> DeliveryStatus {
        let state = self.state.borrow();
        DeliveryStatus {
            name: self.name.clone(),
            directory: self.directory.clone(),
            generation: state.generation.clone(),
            delivered_at: state.delivered_at,
            error: state.error.as_ref().map(ToString::to_string),
            phase: state.phase.to_owned(),
            held_until: state.held_until,
            rejected: state.rejected.clone(),
            rollbacks: state.rollbacks,
            untold: state.is_untold,
            withdrawn: state.is_withdrawn,
            secrets: self
                .inputs
                .iter()
                .map(|(name, input)| secret_status(name, input, state.delivered_at, now))
                .collect(),
        }
    }
}

/// `since` is when the generation was delivered, which confirms nothing that came later.
fn secret_status(name: &str, input: &Input, since: Option<Timestamp>, now: Timestamp) -> SecretStatus {
    let kept = input.handle.kept();
    let limit = input.config.max_stale.and_then(|limit| SignedDuration::try_from(limit).ok());
    // A source that hangs has not failed yet; that it should have answered is enough.
    let is_late = kept.error.is_some() || kept.next_at.is_none_or(|next_at| now > next_at);
    let ended = kept.deadline.is_some_and(|deadline| deadline <= now);
    let stale = match (limit, kept.confirmed_at.or(since)) {
        (Some(limit), Some(confirmed_at)) => is_late && now.duration_since(confirmed_at) > limit,
        _ => false,
    };
    SecretStatus {
        name: name.into(),
        reference: input.config.reference.to_string(),
        version: kept.secret.as_ref().map(|secret| secret.version().to_string()),
        confirmed_at: kept.confirmed_at,
        next_at: kept.next_at,
        lease_deadline: kept.deadline,
        stale,
        ended,
        failures: kept.failures,
        error: kept.error.as_ref().map(ToString::to_string),
    }
}
