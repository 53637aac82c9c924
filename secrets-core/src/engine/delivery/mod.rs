//! One delivery: waits for its secrets, and performs its [`transaction`](crate::transaction).
//!
//! The stages fail apart, and only the failed one is tried again: a secret that cannot be read is its keeper's matter, files that cannot be right
//! wait for other values, a full volume is tried again, and so is an application that could not be told.

mod change;
mod content;
mod effort;
mod journal;
mod prove;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use smol_str::SmolStr;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use self::effort::Effort;
use self::journal::Journal;
pub(super) use self::journal::RECORD;
pub(super) use self::values::{Input, Inputs, Revisions};
use self::values::{Newest, Secrets, Values, versions};
use super::acknowledge::InUse;
use super::planned::Planned;
use super::refresh::{Answer, Asked};
use super::reliance::Reliance;
use super::status::Watched;
use super::target::Target;
use crate::client::named;
use crate::clock::{Clock, later};
use crate::config::{DeliveryConfig, OnForbidden};
use crate::deliver::{Change, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::KeeperHandle;
use crate::payload::{FilePath, Payload};
use crate::reference::SecretRef;
use crate::render::RenderInput;
use crate::secret::Secret;
use crate::state::Slot;
use crate::trace;
use crate::transaction::{Situation, Step, Versions};

/// What was read of each secret that a configuration names.
pub(super) type Reads = BTreeMap<SecretRef, Result<Arc<Secret>>>;

/// How a delivery stands.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) generation: Option<String>,
    pub(super) delivered_at: Option<Timestamp>,
    pub(super) error: Option<Error>,
    /// Where its transaction is, in a word.
    pub(super) phase: &'static str,
    /// The versions that are not tried again.
    pub(super) rejected: Option<Versions>,
    /// Until when a change waits for its window.
    pub(super) held_until: Option<Timestamp>,
    /// How often this process went back to an earlier generation.
    pub(super) rollbacks: u64,
    /// Whether one who has to be told could not be.
    pub(super) is_untold: bool,
    /// Whether the files were taken away, since a source refuses.
    pub(super) is_withdrawn: bool,
}

/// The loop behind one delivery directory.
#[derive(Debug)]
pub(super) struct Delivery {
    config: DeliveryConfig,
    values: Values,
    wake: Arc<Notify>,
    clock: Clock,
    state: watch::Sender<State>,
    target: Target,
    journal: Journal,
    reliance: Reliance,
    effort: Effort,
    asked: Asked,
    ask: mpsc::Sender<Answer>,
}

impl Delivery {
    pub(super) fn new(
        config: DeliveryConfig,
        inputs: Inputs,
        clock: Clock,
        records: &crate::state::State,
    ) -> Self {
        let (state, _) = watch::channel(State::default());
        let target = Target::new(&config, clock.clone());
        let reliance = Reliance::new(&inputs);
        let journal = Journal::new(&config, records);
        let (values, wake, effort) = (Values::new(inputs), Arc::default(), Effort::default());
        let (ask, asked) = Asked::channel();
        Self { config, values, wake, clock, state, target, journal, reliance, effort, asked, ask }
    }

    /// Has what the application works with written to `in_use`, where it is acknowledged.
    pub(super) fn acknowledge_to(&mut self, in_use: Option<InUse>) {
        self.values.in_use = in_use;
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Returns the references of its secrets, without their fields.
    pub(super) fn wholes(&self) -> BTreeSet<SecretRef> {
        self.values.inputs.values().map(|input| input.handle.reference().clone()).collect()
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Returns where its transaction is written down.
    pub(super) fn slot(&self) -> &Slot {
        self.journal.slot()
    }

    pub(super) fn status(&self) -> Watched {
        Watched {
            name: self.config.name.clone(),
            directory: self.config.directory.display().to_string(),
            state: self.state.subscribe(),
            inputs: Arc::clone(&self.values.inputs),
        }
    }

    /// Returns where to ask for this delivery to be made at once.
    pub(super) fn refresher(&self) -> (String, mpsc::Sender<Answer>) {
        (self.config.name.clone(), self.ask.clone())
    }

    /// Returns what there is to see of it until its first generation is there.
    pub(super) fn beginning(&self) -> (watch::Receiver<State>, Vec<KeeperHandle>) {
        let handles = self.values.inputs.values().map(|input| input.handle.clone());
        (self.state.subscribe(), handles.collect())
    }

    /// Checks that the directory is, or would be made, on a volume that it may be on.
    pub(super) fn check_volume(&self) -> Result<()> {
        self.target.check_volume().map_err(|error| self.here(error))
    }

    /// Opens the directory, and takes over the generation that is there: an application may rely on it before any source has answered. A
    /// transaction that was under way goes on.
    pub(super) async fn open(&mut self) -> Result<()> {
        let written = self.journal.load().await;
        let held = written.as_ref().and_then(|written| written.base()).map(str::to_owned);
        let found = self.target.open(held).await.map_err(|error| self.here(error))?;
        if let Some(manifest) = found.manifest.filter(|manifest| self.is_of(manifest)) {
            self.state.send_modify(|state| {
                (state.generation, state.delivered_at) =
                    (Some(manifest.generation), Some(manifest.created_at));
            });
        }
        self.journal.resume(written, found.generation.as_deref(), self.clock.now()).await;
        let transaction = self.journal.transaction();
        if transaction.is_idle() {
            self.target.commit().await.map_err(|error| self.here(error))?;
        } else {
            info!(
                delivery = self.name(),
                phase = transaction.phase(),
                "goes on with the change that was under way"
            );
        }
        self.show();
        Ok(())
    }

    /// Tells whether a generation was made for this delivery as it is configured now, of values that do not end: whether a credential with a
    /// lease is still good, only whoever keeps it can say.
    fn is_of(&self, manifest: &Manifest) -> bool {
        let mut secrets = manifest.files.values().flat_map(|file| &file.secrets);
        if secrets.any(|secret| secret.lease_deadline.is_some()) {
            return false;
        }
        let made = manifest.files.iter().map(|(path, file)| {
            let secrets = file.secrets.iter().map(|secret| secret.name.as_str());
            (path.as_str(), secrets.collect())
        });
        manifest.delivery == self.config.name
            && self.config.files.makes(&made.collect(), self.values.inputs.keys().map(SmolStr::as_str))
    }

    /// Delivers until `stop` says true; what is being written or told then comes to its end first.
    ///
    /// # Errors
    /// A source that refuses, where the configuration wants the program to end then.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        while !*stop.borrow() {
            if let Some(error) = self.values.refused(OnForbidden::Exit) {
                return Err(self.here(error));
            }
            let step = self.next().await;
            let (Step::Rest | Step::WaitUntil(_)) = step else {
                Box::pin(self.perform(step)).await;
                continue;
            };
            let until = match step {
                Step::WaitUntil(at) => Some(at),
                _ => None,
            };
            if !self.journal.transaction().awaits_proof() {
                self.asked.answer(&self.state.borrow(), self.values.inputs.values());
            }
            tokio::select! {
                () = asked(&mut stop) => {}
                () = self.asked.recv() => self.hurry().await,
                () = self.wake.notified() => self.values.settle().await,
                () = at_time(&self.clock, until) => {}
                () = at(&self.clock, self.target.prune_at()) => self.target.prune().await,
                () = at(&self.clock, self.reliance.confirm_at()) => self.reliance.confirm(self.clock.instant()),
            }
        }
        self.journal.end().await;
        Ok(())
    }

    /// Decides what is next, and shows what is waited for.
    async fn next(&mut self) -> Step {
        if let Some(error) = self.values.refused(OnForbidden::Delete) {
            return self.without_files(error).await;
        }
        self.values.observe();
        let now = self.clock.now();
        let newer = self.values.newer().map(|newest| newest.versions);
        if let Some(newer) = &newer
            && self.journal.transaction().rejected() == Some(newer)
            && self.values.base_ends_at().is_some_and(|ends_at| ends_at <= later(now, LAST_MOMENT))
        {
            warn!(
                delivery = self.name(),
                "what the application works with ends now: what was rejected is all there is, and is tried again"
            );
            self.note(crate::transaction::Event::Asked).await;
        }
        let hold_until = newer.as_ref().and_then(|newer| self.hold_until(newer, now));
        let retry_at = self.effort.retry_at;
        let step = self.journal.next(Situation { now, newer: newer.as_ref(), hold_until, retry_at });
        let held_until = hold_until.filter(|until| step == Step::WaitUntil(*until));
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.held_until, held_until) != held_until);
        step
    }

    /// Reads nothing: delivers what was read and tells everybody; returns the generation.
    pub(super) async fn once(&mut self, secrets: Secrets) -> Result<String> {
        let newest = Newest { versions: versions(&secrets), secrets, revisions: Revisions::new() };
        let span = self.span(Step::Prepare);
        trace::within(span, self.prepare(newest, false)).await?;
        while let Step::Tell(index) = self.journal.next(Situation {
            now: self.clock.now(),
            newer: None,
            hold_until: None,
            retry_at: None,
        }) {
            let span = self.span(Step::Tell(index));
            trace::within(span, self.tell_once(index)).await?;
        }
        Ok(self.state.borrow().generation.clone().unwrap_or_default())
    }

    /// Picks the secrets of this delivery out of what was read.
    pub(super) fn take(&self, reads: &Reads) -> Result<Secrets> {
        let secret = |(name, input): (&SmolStr, &Input)| match reads.get(input.handle.reference()) {
            Some(Ok(secret)) => Ok((name.clone(), Arc::clone(secret))),
            Some(Err(error)) => Err(self.here(error.clone())),
            None => Err(self.here(named(
                Error::new(ErrorKind::NotFound, "read", "was not read"),
                &input.config.reference,
            ))),
        };
        self.values.inputs.iter().map(secret).collect()
    }

    /// Tells what delivering `secrets` would change.
    pub(super) fn plan(&self, secrets: &Secrets) -> Result<Vec<Planned>> {
        let payload = self.render(secrets)?;
        let changes = self.target.plan(&payload).map_err(|error| self.here(error))?;
        let planned = |change: Change| {
            let file = change.path.parse::<FilePath>().ok().and_then(|path| payload.files.get(&path));
            let version = |name: &String| Some((name.clone(), secrets.get(name.as_str())?.version().clone()));
            Planned {
                mode: file.map(|file| file.mode),
                secrets: file.into_iter().flat_map(|file| &file.secrets).filter_map(version).collect(),
                change,
            }
        };
        Ok(changes.into_iter().map(planned).collect())
    }

    fn render(&self, secrets: &Secrets) -> Result<Payload> {
        let input = |(name, secret): (&SmolStr, &Arc<Secret>)| {
            let reference = self.values.inputs.get(name).map(|input| &input.config.reference);
            let field = reference.and_then(SecretRef::field).cloned();
            if let (Some(reference), Some(field)) = (reference, &field) {
                // Here rather than when it is rendered, where nobody knows what the secret is called at its source.
                secret.field(field).map_err(|error| self.here(named(error, reference)))?;
            }
            Ok((name.to_string(), RenderInput { secret: Arc::clone(secret), field }))
        };
        let inputs = secrets.iter().map(input).collect::<Result<_>>()?;
        self.config.files.render(&inputs).map_err(|error| self.here(error))
    }

    /// Shows where the transaction is.
    fn show(&self) {
        let transaction = self.journal.transaction();
        self.state.send_modify(|state| {
            state.phase = transaction.phase();
            state.rejected = transaction.rejected().cloned();
        });
    }

    fn here(&self, error: Error) -> Error {
        error.with("delivery", self.name())
    }
}

/// How long before what the application works with ends something that was rejected is tried once more.
const LAST_MOMENT: Duration = Duration::from_secs(1);

async fn asked(stop: &mut watch::Receiver<bool>) {
    // A dropped sender stops the delivery, too.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn at(clock: &Clock, instant: Option<Instant>) {
    match instant {
        Some(instant) => clock.sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn at_time(clock: &Clock, time: Option<Timestamp>) {
    match time {
        Some(time) => clock.sleep_until_time(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
