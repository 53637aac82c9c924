//! Keeps one secret fresh: does what [`Standing`] says is next, when it is due, and hands out the newest good value.
//!
//! ```text
//!            Standing::next                 Provider, Leases
//! what is known ------> (step, when) -> Ask | LookUp | Renew | Replace -> what is known
//! ```
//!
//! A value that is replaced takes its lease along until everybody who holds the secret has confirmed a newer one (`outgoing`). A value that a
//! read would make anew is remembered before anybody sees it (`record`).

mod handle;
mod holders;
mod outgoing;
pub(crate) mod record;
mod tend;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::{debug, info};

pub use self::handle::{KeeperHandle, Kept};
pub use self::holders::Hold;
use self::holders::Holders;
use self::outgoing::Outgoing;
use crate::client::{Client, named};
use crate::clock::Clock;
use crate::config::SecretConfig;
use crate::error::{ErrorKind, Result};
use crate::lease::{Lease, Parent};
use crate::meter::Meter;
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::schedule::{self, Standing, Step, Ticks};
use crate::secret::{Secret, Upkeep};
use crate::state::{Slot, State};
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

/// The loop behind one secret; made with its [`KeeperHandle`] by [`Keeper::new`].
#[derive(Debug)]
pub struct Keeper {
    reference: SecretRef,
    provider: Arc<dyn Provider>,
    meter: Arc<Meter>,
    pace: Pace,
    ticks: Ticks,
    clock: Clock,
    slot: Slot,
    state: watch::Sender<Kept>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    holders: Holders,
    told: Vec<Arc<Notify>>,
}

/// What the loop knows beside what it publishes.
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

impl Keeper {
    /// Makes a keeper that keeps `reference` at that pace, and the handle to see what it finds.
    ///
    /// # Errors
    /// A reference that its provider could not read.
    pub fn new(
        client: &Client,
        reference: &SecretRef,
        pace: Pace,
        clock: &Clock,
        state: &State,
    ) -> Result<(Self, KeeperHandle)> {
        client.validate(reference)?;
        let reference = reference.whole();
        let (sender, seen) = watch::channel(Kept::default());
        let (ask, asked) = mpsc::channel(16);
        let holders = Holders::new();
        let handle = KeeperHandle { state: seen, ask, holders: holders.clone() };
        let keeper = Self {
            provider: Arc::clone(client.provider(&reference)?),
            meter: client.meter(&reference),
            ticks: client.ticks(),
            slot: state.slot(RECORD, &record::name(&reference)),
            reference,
            pace,
            clock: clock.clone(),
            state: sender,
            asked,
            holders,
            told: Vec::new(),
        };
        Ok((keeper, handle))
    }

    /// Returns what is kept: the reference without its field.
    pub fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// Returns where the secret is remembered.
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Has `wake` notified of every new value.
    pub fn tell(&mut self, wake: Arc<Notify>) {
        self.told.push(wake);
    }

    /// Keeps the secret until `stop` says true; a step under way then comes to its end first. Returns the leases that are left: of the newest value,
    /// and of those that somebody still relied on.
    ///
    /// # Cancel safety
    /// Safe to drop at any moment, but for a value that its source is making just then: its lease would be nobody's.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Vec<Lease> {
        let mut changes = self.provider.changes(&self.reference);
        let mut holder_changes = self.holders.changes();
        // Boxed: a thousand keepers rest here, and what they do now and then takes no room meanwhile.
        let mut tending = Box::pin(self.resume()).await;
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let next = self.next(&tending);
            let step = tokio::select! {
                biased;
                () = stopped(&mut stop) => return self.leases_left(&tending),
                Some(answer) = self.asked.recv() => {
                    waiting.push(answer);
                    self.asked_step(&tending)
                }
                () = due(&self.clock, next) => next.map(|(step, _)| step),
                () = changed(&mut changes) => {
                    self.clock.sleep_until(self.clock.instant() + SETTLE).await;
                    Some(Step::Ask)
                }
                () = changed(&mut tending.parent) => None,
                () = holder_changes.changed() => None,
                () = tending.outgoing.due(&self.holders, &self.clock) => None,
            };
            while let Ok(answer) = self.asked.try_recv() {
                waiting.push(answer);
            }
            if let Some(step) = step {
                Box::pin(self.perform(step, &mut tending)).await;
            }
            if !tending.outgoing.is_empty() {
                Box::pin(self.tend_outgoing(&mut tending)).await;
            }
            self.note_parent(&tending);
            for answer in waiting.drain(..) {
                // Whoever asked may have stopped waiting.
                answer.send(()).ok();
            }
        }
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
        let span = trace::fetch(Step::Ask.as_str(), &self.reference);
        let secret = trace::within(span, client.read(&self.reference)).await?;
        self.remember(&secret, &secret.upkeep, &[]).await;
        Ok(Arc::new(secret))
    }

    /// Asks the source whether a remembered value is still good, where it can tell.
    async fn still_stands(&self, upkeep: &Upkeep) -> bool {
        match (upkeep.lease(), self.provider.leases()) {
            (Some(lease), Some(leases)) => match leases.look_up(lease).await {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::PermissionDenied && leases.parent(lease).is_some(),
            },
            (lease, _) => lease.is_none(),
        }
    }

    /// Begins with the value that is remembered, if there is one: it is good until its source says otherwise, which it is asked first.
    async fn resume(&self) -> Tending {
        let now = self.clock.now();
        let mut tending = Tending {
            parent: None,
            is_lost: false,
            can_look_up: self.provider.leases().is_some(),
            asked_at: now,
            refresh_at: now,
            retry_at: None,
            unit: fastrand::f64(),
            outgoing: Outgoing::default(),
        };
        if let Some(record) = self.remembered().await {
            info!(reference = %self.reference, version = %record.secret.version(), "goes on with the value from before");
            tending.outgoing = Outgoing::resumed(record.outgoing);
            self.publish(record.secret, now);
        }
        tending
    }

    async fn remembered(&self) -> Option<record::Record> {
        let bytes = self.slot.load().await?;
        record::read(&bytes, &self.provider.realm(), &self.reference, self.clock.now())
    }

    /// Remembers a value that a read would make anew, and forgets the one before otherwise.
    async fn remember(&self, secret: &Secret, upkeep: &Upkeep, outgoing: &[Lease]) {
        if !upkeep.is_minted() {
            return self.slot.clear().await;
        }
        if upkeep.lease().is_some() {
            self.slot.say_if_it_ends_with_the_process();
        }
        match record::write(&self.provider.realm(), &self.reference, secret, upkeep, outgoing) {
            Some(record) => self.slot.save(record).await,
            None => {
                debug!(reference = %self.reference, "the secret has bytes that a record cannot hold; it is not remembered")
            }
        }
    }

    /// Returns the next step and publishes when it is due.
    fn next(&self, tending: &Tending) -> Option<(Step, Timestamp)> {
        let next = self.decide(tending);
        self.state.send_if_modified(|kept| {
            kept.next_at = next.map(|(_, at)| at);
            false
        });
        next
    }

    fn decide(&self, tending: &Tending) -> Option<(Step, Timestamp)> {
        let now = self.clock.now();
        let kept = self.state.borrow();
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
    fn asked_step(&self, tending: &Tending) -> Option<Step> {
        match &self.state.borrow().upkeep {
            Some(Upkeep::Lease(_)) => tending.can_look_up.then_some(Step::LookUp),
            Some(Upkeep::Expiry { .. }) => None,
            Some(Upkeep::Poll { .. } | Upkeep::Turn { .. } | Upkeep::Once) | None => Some(Step::Ask),
        }
    }

    fn leases_left(&self, tending: &Tending) -> Vec<Lease> {
        let newest =
            self.state.borrow().upkeep.as_ref().and_then(Upkeep::lease).filter(|_| !tending.is_lost).cloned();
        newest.into_iter().chain(tending.outgoing.leases()).collect()
    }

    /// Returns when the interval has the source asked again: together with others, where that saves requests.
    fn refresh_at(&self) -> Timestamp {
        let (refresh, now) = (self.pace.refresh, self.clock.now());
        if refresh == SecretConfig::NEVER {
            return Timestamp::MAX;
        }
        match self.provider.group(&self.reference) {
            Some(group) => self.ticks.of_group(&group).next(refresh, now),
            None => crate::clock::later(now, schedule::after_success(refresh, fastrand::f64())),
        }
    }
}

/// How long a burst of change hints may take to end before the source is read: an editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(50);
/// The kind of record that a secret is remembered in.
pub(crate) const RECORD: &str = "secret";

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A dropped sender stops the keeper, too.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn due(clock: &Clock, next: Option<(Step, Timestamp)>) {
    match next {
        Some((_, at)) => clock.sleep_until_time(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next change; for ever when whoever tells of changes is gone.
async fn changed<T>(receiver: &mut Option<watch::Receiver<T>>) {
    if let Some(receiver) = receiver
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
