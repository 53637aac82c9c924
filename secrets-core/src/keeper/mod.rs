//! Keeps secrets fresh: does what [`Standing`] says is next, when it is due, and hands out the newest good values.
//!
//! ```text
//!            Standing::next                 Provider, Leases
//! what is known ------> (step, when) -> Ask | LookUp | Renew | Replace -> what is known
//! ```
//!
//! A secret that rests is a plain value in a queue: one loop and one timer are for all of them, and only a step under way is a task (`keepers`).
//! A value that is replaced takes its lease along until everybody who holds the secret has confirmed a newer one (`outgoing`). A value that a
//! read would make anew is remembered before anybody sees it (`record`).

mod handle;
mod holders;
mod keepers;
mod outgoing;
pub(crate) mod record;
mod shared;
mod steps;
mod tend;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};
use tracing::{debug, info};

pub use self::handle::{KeeperHandle, Kept};
pub use self::holders::Hold;
pub use self::keepers::Keepers;
use self::outgoing::Outgoing;
use self::shared::Shared;
use crate::client::Client;
use crate::clock::{Clock, later};
use crate::config::SecretConfig;
use crate::error::{ErrorKind, Result};
use crate::lease::{Lease, Parent};
use crate::meter::Meter;
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::schedule::{self, Standing, Step, Ticks};
use crate::secret::{Secret, Upkeep};
use crate::trace;

/// How often a secret is asked for, and for how long its older values are needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// How often the source is asked whether the value changed, or how its lease stands; not at all where it is [`SecretConfig::NEVER`].
    pub refresh: Duration,
    /// For how long a value is still used after a newer one is there; it is replaced that much before its end, as far as its life allows.
    pub overlap: Duration,
}

impl Pace {
    /// Returns the interval that the wait after a failure goes by: what is read once is tried until it was read.
    fn after_failure(self) -> Duration {
        if self.refresh == SecretConfig::NEVER { SecretConfig::DEFAULT_REFRESH } else { self.refresh }
    }
}

/// One secret: what keeps it fresh, and how that stands.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    source: Arc<Source>,
    pace: Pace,
    /// Most secrets are of one delivery.
    told: SmallVec<[Arc<Notify>; 1]>,
    tending: Tending,
}

/// Where secrets come from, and what all that come from there have in common.
#[derive(Debug)]
struct Source {
    provider: Arc<dyn Provider>,
    meter: Arc<Meter>,
    ticks: Ticks,
    clock: Clock,
}

/// What a keeper knows beside what it publishes.
#[derive(Debug)]
struct Tending {
    parent: Option<watch::Receiver<Parent>>,
    is_lost: bool,
    can_look_up: bool,
    asked_at: Timestamp,
    refresh_at: Timestamp,
    retry_at: Option<Timestamp>,
    unit: f64,
    outgoing: Outgoing,
}

/// What a secret needs.
#[derive(Clone, Copy, Debug)]
enum Need {
    /// Something now: that step, where there is one, and a look at the leases of replaced values.
    Now(Option<Step>),
    /// Nothing before then.
    At(Timestamp),
    /// Nothing, until something changes.
    Nothing,
}

impl Keeper {
    /// Returns what is kept: the reference without its field.
    pub(crate) fn reference(&self) -> &SecretRef {
        &self.shared.reference
    }

    /// Has `wake` notified of every new value.
    pub(crate) fn tell(&mut self, wake: Arc<Notify>) {
        self.told.push(wake);
    }

    /// Says what is needed; `hint_at` is when the source is to be asked since it may have changed.
    fn needs(&self, hint_at: Option<Timestamp>) -> Need {
        let now = self.source.clock.now();
        self.note_parent();
        let next = self.next(now);
        if self.shared.is_asked() {
            match self.asked_step() {
                Some(step) => return Need::Now(Some(step)),
                None => self.shared.answer(self.shared.asked()),
            }
        }
        let outgoing_at = self.source.provider.leases().and_then(|_| self.outgoing_at());
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        match next {
            _ if is_due(hint_at) => Need::Now(Some(Step::Ask)),
            Some((step, at)) if is_due(Some(at)) => Need::Now(Some(step)),
            _ if is_due(outgoing_at) => Need::Now(None),
            _ => {
                let next_at = next.map(|(_, at)| at);
                [next_at, hint_at, outgoing_at].into_iter().flatten().min().map_or(Need::Nothing, Need::At)
            }
        }
    }

    /// Does what is needed now, and tells those who asked before.
    async fn tend(&mut self, step: Option<Step>) {
        let asked = self.shared.asked();
        if let Some(step) = step {
            self.perform(step).await;
        }
        if !self.tending.outgoing.is_empty() {
            Box::pin(self.tend_outgoing()).await;
        }
        self.note_parent();
        self.shared.answer(asked);
    }

    /// Reads the secret once, or goes on with the value that is remembered.
    ///
    /// # Errors
    /// As for [`Client::read`].
    pub(crate) async fn once(&self, client: &Client) -> Result<Arc<Secret>> {
        if let Some(record) = self.remembered().await
            && self.still_stands(&record.secret.upkeep).await
        {
            return Ok(Arc::new(record.secret));
        }
        let span = trace::fetch(Step::Ask.as_str(), &self.shared.reference);
        let secret = trace::within(span, client.read(&self.shared.reference)).await?;
        self.remember(&secret, &secret.upkeep, &[]).await;
        Ok(Arc::new(secret))
    }

    /// Asks the source whether a remembered value is still good, where it can tell.
    async fn still_stands(&self, upkeep: &Upkeep) -> bool {
        match (upkeep.lease(), self.source.provider.leases()) {
            (Some(lease), Some(leases)) => match leases.look_up(lease).await {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::PermissionDenied && leases.parent(lease).is_some(),
            },
            (lease, _) => lease.is_none(),
        }
    }

    /// Goes on with the value that is remembered, or reads the first one.
    async fn begin(&mut self) {
        self.resume().await;
        if self.shared.look(|kept| kept.secret.is_none()) {
            self.tend(Some(Step::Ask)).await;
        }
    }

    /// Goes on with the value that is remembered, if there is one: it is good until its source says otherwise, which it is asked first.
    async fn resume(&mut self) {
        let Some(record) = self.remembered().await else { return };
        info!(reference = %self.shared.reference, version = %record.secret.version(), "goes on with the value from before");
        self.tending.outgoing = Outgoing::resumed(record.outgoing);
        self.publish(record.secret, self.source.clock.now());
    }

    async fn remembered(&self) -> Option<record::Record> {
        let bytes = self.shared.slot().load().await?;
        record::read(&bytes, &self.source.provider.realm(), &self.shared.reference, self.source.clock.now())
    }

    /// Remembers a value that a read would make anew, and forgets the one before otherwise.
    async fn remember(&self, secret: &Secret, upkeep: &Upkeep, outgoing: &[Lease]) {
        let slot = self.shared.slot();
        if !upkeep.is_minted() {
            return slot.clear().await;
        }
        if upkeep.lease().is_some() {
            slot.say_if_it_ends_with_the_process();
        }
        match record::write(&self.source.provider.realm(), &self.shared.reference, secret, upkeep, outgoing) {
            Some(record) => slot.save(record).await,
            None => {
                debug!(reference = %self.shared.reference, "the secret has bytes that a record cannot hold; it is not remembered")
            }
        }
    }

    /// Returns the next step and publishes when it is due.
    fn next(&self, now: Timestamp) -> Option<(Step, Timestamp)> {
        let next = self.shared.look(|kept| self.decide(kept, now));
        self.shared.modify_if(|kept| {
            kept.next_at = next.map(|(_, at)| at);
            false
        });
        next
    }

    fn decide(&self, kept: &Kept, now: Timestamp) -> Option<(Step, Timestamp)> {
        let tending = &self.tending;
        let Some(upkeep) = &kept.upkeep else {
            return Some((Step::Ask, tending.retry_at.unwrap_or(now)));
        };
        let standing = Standing {
            upkeep,
            parent: tending.parent.as_ref().map(|parent| *parent.borrow()),
            is_lost: tending.is_lost,
            can_look_up: tending.can_look_up,
            asked_at: tending.asked_at,
            refresh_at: tending.refresh_at,
            retry_at: tending.retry_at,
            overlap: self.pace.overlap,
            unit: tending.unit,
        };
        standing.next(now)
    }

    /// Returns what somebody who wants to know now is answered with. Nothing new is made for it.
    fn asked_step(&self) -> Option<Step> {
        self.shared.look(|kept| match &kept.upkeep {
            Some(Upkeep::Lease(_)) => self.tending.can_look_up.then_some(Step::LookUp),
            Some(Upkeep::Expiry { .. }) => None,
            Some(Upkeep::Poll { .. } | Upkeep::Turn { .. } | Upkeep::Once) | None => Some(Step::Ask),
        })
    }

    /// Returns when the leases of replaced values need something.
    fn outgoing_at(&self) -> Option<Timestamp> {
        self.shared.holders(|holders| self.tending.outgoing.due_at(holders))
    }

    fn leases_left(&self) -> Vec<Lease> {
        let newest = self.lease().filter(|_| !self.tending.is_lost);
        newest.into_iter().chain(self.tending.outgoing.leases()).collect()
    }

    /// Returns when the interval has the source asked again: together with others, where that saves requests.
    fn refresh_at(&self) -> Timestamp {
        let (refresh, now) = (self.pace.refresh, self.source.clock.now());
        if refresh == SecretConfig::NEVER {
            return Timestamp::MAX;
        }
        match self.source.provider.group(&self.shared.reference) {
            Some(group) => self.source.ticks.of_group(&group).next(refresh, now),
            None => self
                .source
                .ticks
                .together(refresh, later(now, schedule::after_success(refresh, fastrand::f64()))),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// The kind of record that a secret is remembered in.
pub(crate) const RECORD: &str = "secret";

#[cfg(test)]
mod tests;
