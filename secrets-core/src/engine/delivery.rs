//! One delivery: waits for its secrets, renders, writes, tells.
//!
//! The stages fail apart, and only the failed one is tried again: a secret that cannot be read is its keeper's matter, a template that fails waits
//! for other values, a full volume is tried again, and so is an application that could not be told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::planned::Planned;
use super::reliance::Reliance;
use super::status::Watched;
use super::target::Target;
use crate::client::named;
use crate::clock::Clock;
use crate::config::{DeliveryConfig, SecretConfig};
use crate::deliver::{Change, Manifest, SourceInfo, Sources};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{KeeperHandle, Kept};
use crate::notify::{Event, Notifier};
use crate::payload::{FilePath, Payload};
use crate::reference::SecretRef;
use crate::render::RenderInput;
use crate::schedule::{self, Failure};
use crate::secret::Secret;

/// What was read of each secret that a configuration names.
pub(super) type Reads = BTreeMap<SecretRef, Result<Arc<Secret>>>;

/// One secret of a delivery: what the configuration says of it, and who keeps it.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) config: SecretConfig,
    pub(super) handle: KeeperHandle,
}

/// How a delivery stands.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) generation: Option<String>,
    pub(super) delivered_at: Option<Timestamp>,
    pub(super) error: Option<Error>,
}

/// The loop behind one delivery directory.
#[derive(Debug)]
pub(super) struct Delivery {
    config: DeliveryConfig,
    inputs: BTreeMap<String, Input>,
    wake: Arc<Notify>,
    clock: Clock,
    state: watch::Sender<State>,
    target: Target,
    /// The generation that whoever is to be told knows of; none while there has never been one.
    known: Option<String>,
    /// Which value of each secret was taken last, by its revision; empty before the first time.
    taken: BTreeMap<String, u64>,
    reliance: Reliance,
}

type Secrets = BTreeMap<String, Arc<Secret>>;

/// A generation that is visible and that somebody is still to be told of.
#[derive(Debug)]
struct Untold {
    event: Event,
    /// How many of the notifiers have been told.
    told: usize,
    /// Whether it is the first generation in an empty directory: there may be no application yet.
    first: bool,
}

/// What is to be done, and how often it failed in a row.
#[derive(Debug, Default)]
struct Work {
    undelivered: bool,
    untold: Option<Untold>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Delivery {
    pub(super) fn new(
        config: DeliveryConfig,
        inputs: BTreeMap<String, Input>,
        wake: Arc<Notify>,
        clock: Clock,
    ) -> Self {
        let (state, _) = watch::channel(State::default());
        let target = Target::new(&config, clock.clone());
        let reliance = Reliance::new(&inputs);
        Self { config, inputs, wake, clock, state, target, known: None, taken: BTreeMap::new(), reliance }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn uses(&self, reference: &SecretRef) -> bool {
        self.inputs.values().any(|input| input.config.reference.whole() == *reference)
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub(super) fn status(&self) -> Watched {
        Watched {
            name: self.config.name.clone(),
            directory: self.config.directory.display().to_string(),
            state: self.state.subscribe(),
            inputs: self.inputs.iter().map(|(name, input)| (name.clone(), input.clone())).collect(),
        }
    }

    /// Checks that the directory is, or would be made, on a volume that it may be on.
    pub(super) fn check_volume(&self) -> Result<()> {
        self.target.check_volume().map_err(|error| self.here(error))
    }

    /// Opens the directory, and takes over the generation that is there: an application may rely on it before any source has answered.
    pub(super) async fn open(&mut self) -> Result<()> {
        let found = self.target.open().await.map_err(|error| self.here(error))?;
        if let Some(manifest) = found.manifest.filter(|manifest| self.is_of(manifest)) {
            self.state.send_modify(|state| {
                (state.generation, state.delivered_at) =
                    (Some(manifest.generation), Some(manifest.created_at));
            });
        }
        self.known = found.generation;
        Ok(())
    }

    /// Tells whether a generation was made for this delivery as it is configured now, of values that do not end: whether a credential with a
    /// lease is still good, only whoever keeps it can say.
    fn is_of(&self, manifest: &Manifest) -> bool {
        let mut secrets = manifest.files.values().flat_map(|file| &file.secrets);
        if secrets.any(|secret| secret.lease_deadline.is_some()) {
            return false;
        }
        let paths = manifest.files.keys().map(String::as_str).collect();
        manifest.delivery == self.config.name && self.config.files.makes(&paths, self.inputs.keys())
    }

    /// Delivers until `stop` says true; what is being written or told then comes to its end first.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut work = Work { undelivered: true, ..Work::default() };
        while !*stop.borrow() {
            self.work(&mut work).await;
            tokio::select! {
                () = asked(&mut stop) => {}
                () = self.wake.notified() => work.undelivered |= self.settle().await,
                () = at(&self.clock, work.retry_at) => {}
                () = at(&self.clock, self.target.prune_at()) => self.target.prune().await,
                () = at(&self.clock, self.reliance.confirm_at()) => self.reliance.confirm(self.clock.instant()),
            }
        }
    }

    /// Does what there is to do, and notes when to try what failed again.
    async fn work(&mut self, work: &mut Work) {
        work.retry_at = None;
        let result = match self.attempt(work).await {
            Ok(()) => {
                work.failures = 0;
                None
            }
            Err(error) => {
                work.failures += 1;
                let failure = Failure { temporary: true, count: work.failures, retry_after: None };
                let wait = schedule::after_failure(failure, Duration::ZERO, fastrand::f64());
                // A template that failed fails again until its secrets change, and then the loop wakes up.
                if error.kind() != ErrorKind::Render && error.kind() != ErrorKind::MissingField {
                    work.retry_at = Some(self.clock.instant() + wait);
                }
                if work.failures.is_power_of_two() {
                    warn!(delivery = self.name(), %error, failures = work.failures, "the delivery is not in step; the last generation stays");
                }
                Some(error)
            }
        };
        self.state.send_modify(|state| state.error = result);
    }

    async fn attempt(&mut self, work: &mut Work) -> Result<()> {
        if work.undelivered {
            let Some(secrets) = self.take_newest() else { return Ok(()) };
            let untold = self.deliver(secrets).await?;
            work.undelivered = false;
            self.reliance.moves_to(self.taken.clone(), self.clock.instant() + self.config.overlap());
            if untold.is_some() {
                work.untold = untold;
            }
        }
        if let Some(untold) = &mut work.untold {
            self.tell(untold).await?;
            work.untold = None;
        }
        Ok(())
    }

    /// Reads nothing: delivers what was read and tells everybody; returns the generation.
    pub(super) async fn once(&mut self, secrets: Secrets) -> Result<String> {
        if let Some(mut untold) = self.deliver(secrets).await? {
            self.tell(&mut untold).await?;
        }
        Ok(self.known.clone().unwrap_or_default())
    }

    /// Picks the secrets of this delivery out of what was read.
    pub(super) fn take(&self, reads: &Reads) -> Result<Secrets> {
        let secret = |(name, input): (&String, &Input)| match reads.get(&input.config.reference.whole()) {
            Some(Ok(secret)) => Ok((name.clone(), Arc::clone(secret))),
            Some(Err(error)) => Err(self.here(error.clone())),
            None => Err(self.here(named(
                Error::new(ErrorKind::NotFound, "read", "was not read"),
                &input.config.reference,
            ))),
        };
        self.inputs.iter().map(secret).collect()
    }

    /// Tells what delivering `secrets` would change.
    pub(super) fn plan(&self, secrets: &Secrets) -> Result<Vec<Planned>> {
        let payload = self.render(secrets)?;
        let changes = self.target.plan(&payload).map_err(|error| self.here(error))?;
        let planned = |change: Change| {
            let file = change.path.parse::<FilePath>().ok().and_then(|path| payload.files.get(&path));
            let version = |name: &String| Some((name.clone(), secrets.get(name)?.version().clone()));
            Planned {
                mode: file.map(|file| file.mode),
                secrets: file.into_iter().flat_map(|file| &file.secrets).filter_map(version).collect(),
                change,
            }
        };
        Ok(changes.into_iter().map(planned).collect())
    }

    /// Takes the newest good values, once there is one of every secret.
    fn take_newest(&mut self) -> Option<Secrets> {
        let kept: BTreeMap<&String, Kept> =
            self.inputs.iter().map(|(name, input)| (name, input.handle.kept())).collect();
        let secrets = kept
            .iter()
            .map(|(name, kept)| Some(((*name).clone(), kept.secret.clone()?)))
            .collect::<Option<_>>()?;
        self.taken = kept.into_iter().map(|(name, kept)| (name.clone(), kept.revision)).collect();
        Some(secrets)
    }

    /// Tells whether there is a newer value than the one that was taken. If so, has the other secrets asked at once, so that those which were
    /// written together become visible together. One whose source fails is left to its own pace.
    async fn settle(&self) -> bool {
        let is_new =
            |(name, input): &(&String, &Input)| self.taken.get(*name) != Some(&input.handle.revision());
        let (new, old): (Vec<_>, Vec<_>) = self.inputs.iter().partition(is_new);
        if !new.is_empty() && !self.taken.is_empty() && old.len() <= SETTLE_AT_MOST {
            let answering = old.iter().filter(|(_, input)| input.handle.kept().error.is_none());
            join_all(answering.map(|(_, input)| input.handle.refresh(SETTLE_WITHIN))).await;
        }
        !new.is_empty()
    }

    fn render(&self, secrets: &Secrets) -> Result<Payload> {
        let input = |(name, secret): (&String, &Arc<Secret>)| {
            let reference = self.inputs.get(name).map(|input| &input.config.reference);
            let field = reference.and_then(SecretRef::field).cloned();
            if let (Some(reference), Some(field)) = (reference, &field) {
                // Here rather than when it is rendered, where nobody knows what the secret is called at its source.
                secret.field(field).map_err(|error| self.here(named(error, reference)))?;
            }
            Ok((name.clone(), RenderInput { secret: Arc::clone(secret), field }))
        };
        let inputs = secrets.iter().map(input).collect::<Result<_>>()?;
        self.config.files.render(&inputs).map_err(|error| self.here(error))
    }

    /// Makes the files of `secrets` visible; returns the generation if nobody has been told of it.
    async fn deliver(&mut self, secrets: Secrets) -> Result<Option<Untold>> {
        let payload = self.render(&secrets)?;
        let written = self.target.write(payload, self.sources(&secrets)).await;
        let generation = written.map_err(|error| self.here(error))?;
        let now = self.clock.now();
        self.state.send_modify(|state| {
            if state.generation.as_ref() != Some(&generation) {
                (state.generation, state.delivered_at) = (Some(generation.clone()), Some(now));
            }
        });
        if self.known.as_ref() == Some(&generation) {
            return Ok(None);
        }
        info!(delivery = self.name(), generation, secrets = versions(&secrets), "delivered");
        let first = self.known.replace(generation.clone()).is_none();
        let DeliveryConfig { name, directory, .. } = &self.config;
        let event = Event { delivery: name.clone(), directory: directory.clone(), generation };
        Ok(Some(Untold { event, told: 0, first }))
    }

    fn sources(&self, secrets: &Secrets) -> Sources {
        let source = |(name, input): (&String, &Input)| {
            let secret = secrets.get(name)?;
            let info = SourceInfo {
                reference: input.config.reference.to_string(),
                version: secret.version().clone(),
                lease_deadline: secret.upkeep.deadline(None),
            };
            Some((name.clone(), info))
        };
        self.inputs.iter().filter_map(source).collect()
    }

    /// Tells those that were not told yet, in order; the first that fails ends it.
    async fn tell(&self, untold: &mut Untold) -> Result<()> {
        for notifier in self.config.on_change.iter().skip(untold.told) {
            match notifier.notify(&untold.event).await {
                Ok(report) => info!(delivery = self.name(), notifier = %notifier, %report, "told"),
                Err(error)
                    if untold.first && matches!(notifier, Notifier::Signal(_)) && error.is_temporary() =>
                {
                    info!(delivery = self.name(), notifier = %notifier, %error, "nobody to tell of the first generation");
                }
                Err(error) => return Err(self.here(error)),
            }
            untold.told += 1;
        }
        Ok(())
    }

    fn here(&self, error: Error) -> Error {
        error.with("delivery", self.name())
    }
}

/// How long the other secrets of a delivery are waited for after one changed.
const SETTLE_WITHIN: Duration = Duration::from_millis(500);
/// How many other secrets are asked then; beyond it a change would cost more requests than it is worth.
const SETTLE_AT_MOST: usize = 64;

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

fn versions(secrets: &Secrets) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> =
        secrets.iter().take(SHOWN).map(|(name, secret)| format!("{name}@{}", secret.version())).collect();
    if secrets.len() > SHOWN {
        shown.push(format!("and {} more", secrets.len() - SHOWN));
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::config::ProviderConfig;
    use crate::environment::Environment;
    use crate::keeper::{Keeper, Pace};
    use crate::memory::Memory;
    use crate::registry::Kind;
    use crate::render::FilePlan;

    const REFRESH: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_change_asks_the_others_at_once_but_not_those_that_fail() {
        let clock = Clock::paused(Timestamp::UNIX_EPOCH);
        let sources = ["changing", "answering", "failing"].map(|name| (name, Memory::new().without_hints()));
        let provider = |(name, memory): &(&str, Memory)| {
            memory.set("a", [("k", "1")]);
            let blueprint = memory.configure_from(&Environment::default()).unwrap();
            ((*name).to_owned(), ProviderConfig::new(blueprint))
        };
        let (_stop, stopped) = watch::channel(false);
        let state = crate::state::State::in_memory();
        let client = Client::build(&sources.iter().map(provider).collect(), &clock, &state).unwrap();
        let mut keeping = tokio::task::JoinSet::new();
        let mut inputs = BTreeMap::new();
        for (name, _) in &sources {
            let reference: SecretRef = format!("{name}://a").parse().unwrap();
            let pace = Pace { refresh: REFRESH, overlap: Duration::ZERO };
            let (keeper, handle) = Keeper::new(&client, &reference, pace, &clock, &state).unwrap();
            keeping.spawn(keeper.run(stopped.clone()));
            let config = SecretConfig { reference, refresh: REFRESH, max_stale: None };
            inputs.insert((*name).to_owned(), Input { config, handle });
        }
        let config = DeliveryConfig {
            name: "orders".into(),
            directory: "/run/orders".into(),
            allow_disk: false,
            owner: None,
            secrets: BTreeMap::new(),
            files: FilePlan::per_field(),
            on_change: Vec::new(),
            overlap_set: Some(Duration::ZERO),
        };
        let mut delivery = Delivery::new(config, inputs, Arc::default(), clock);
        let asked = |index: usize| sources[index].1.reads() + sources[index].1.version_checks();

        tokio::time::sleep(Duration::from_millis(1)).await;
        sources[2].1.fail_until_cleared(Error::new(ErrorKind::PermissionDenied, "read", "no"));
        tokio::time::sleep(REFRESH).await;
        assert!(delivery.take_newest().is_some());
        assert!(!delivery.settle().await, "nothing has changed");

        sources[0].1.set("a", [("k", "2")]);
        delivery.inputs["changing"].handle.refresh(REFRESH).await;
        let before = [asked(1), asked(2)];
        assert!(delivery.settle().await);
        assert_eq!([asked(1), asked(2)], [before[0] + 1, before[1]]);
    }
}
