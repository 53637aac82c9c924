//! The loop behind all secrets that are kept together: a queue of those that rest, by when they need something, and a task for each step under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, select_all};
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc, watch};

use super::outgoing::Outgoing;
use super::shared::{Bell, Shared};
use super::steps::{Stepped, Steps};
use super::{Keeper, KeeperHandle, Need, Pace, Source, Tending};
use crate::client::Client;
use crate::clock::{Clock, later};
use crate::error::Result;
use crate::lease::{Lease, Parent};
use crate::reference::SecretRef;
use crate::schedule::Step;
use crate::state::State;

/// Keeps secrets fresh, each on its own: one whose source hangs holds no other up.
#[derive(Debug)]
pub struct Keepers {
    /// By the names of the providers.
    sources: BTreeMap<String, Arc<Source>>,
    places: Vec<Place>,
    /// When the secrets that rest need something, by their places.
    queue: BTreeSet<(Timestamp, usize)>,
    steps: Steps,
    hints: FuturesUnordered<BoxFuture<'static, Option<Hint>>>,
    /// The logins that leases hang on, each once.
    logins: Vec<watch::Receiver<Parent>>,
    bells: (mpsc::UnboundedSender<usize>, mpsc::UnboundedReceiver<usize>),
    clock: Clock,
}

/// Where the keeper of one secret is.
#[derive(Debug)]
struct Place {
    /// None until the secret has begun, and while a step is under way.
    keeper: Option<Box<Keeper>>,
    due_at: Option<Timestamp>,
    /// When the source is to be asked since it may have changed.
    hint_at: Option<Timestamp>,
}

/// The source of a secret has hinted that it may have changed, and may do so again.
type Hint = (usize, watch::Receiver<()>);

impl Keepers {
    /// Begins with no secret.
    pub fn new(clock: &Clock) -> Self {
        Self {
            sources: BTreeMap::new(),
            places: Vec::new(),
            queue: BTreeSet::new(),
            steps: Steps::new(),
            hints: FuturesUnordered::new(),
            logins: Vec::new(),
            bells: mpsc::unbounded_channel(),
            clock: clock.clone(),
        }
    }

    /// Adds `reference`, to be kept at that pace, and returns the handle to see what is found. All secrets are read by one `client`.
    ///
    /// # Errors
    /// A reference that its provider could not read.
    pub fn keep(
        &mut self,
        client: &Client,
        reference: &SecretRef,
        pace: Pace,
        state: &State,
    ) -> Result<KeeperHandle> {
        client.validate(reference)?;
        let reference = reference.whole();
        let source = self.source(client, &reference)?;
        let now = self.clock.now();
        let tending = Tending {
            parent: None,
            is_lost: false,
            can_look_up: source.provider.leases().is_some(),
            asked_at: now,
            refresh_at: now,
            retry_at: None,
            unit: fastrand::f64(),
            outgoing: Outgoing::default(),
        };
        let bell = Bell { ring: self.bells.0.clone(), index: self.places.len() };
        let shared = Arc::new(Shared::new(reference, state.clone(), bell));
        let handle = KeeperHandle::new(Arc::clone(&shared));
        let keeper = Keeper { shared, source, pace, told: SmallVec::new(), tending };
        self.places.push(Place { keeper: Some(Box::new(keeper)), due_at: None, hint_at: None });
        Ok(handle)
    }

    fn source(&mut self, client: &Client, reference: &SecretRef) -> Result<Arc<Source>> {
        if let Some(known) = self.sources.get(reference.provider()) {
            return Ok(Arc::clone(known));
        }
        let source = Arc::new(Source {
            provider: Arc::clone(client.provider(reference)?),
            meter: client.meter(reference),
            ticks: client.ticks(),
            clock: self.clock.clone(),
        });
        self.sources.insert(reference.provider().to_owned(), Arc::clone(&source));
        Ok(source)
    }

    /// Returns what is notified when several secrets were asked for at once, and all sources have answered.
    pub fn quiet(&self) -> Arc<Notify> {
        self.steps.quiet()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Keeper> {
        self.places.iter().filter_map(|place| place.keeper.as_deref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Keeper> {
        self.places.iter_mut().filter_map(|place| place.keeper.as_deref_mut())
    }

    /// Keeps the secrets until `stop` says true; steps under way then come to their end first. Returns the leases that are left: of the newest
    /// values, and of those that somebody still relied on.
    ///
    /// # Cancel safety
    /// Safe to drop at any moment, but for a value that its source is making just then: its lease would be nobody's.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Vec<Lease> {
        self.begin();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                stepped = self.steps.next() => self.put_back(stepped),
                Some(index) = self.bells.1.recv() => self.look(index),
                Some(hint) = self.hints.next() => self.note(hint),
                () = due(&self.clock, self.queue.first()) => self.look_at_what_is_due(),
                login = changed(&mut self.logins) => self.look_at_leases_of(&login),
            }
        }
        for (index, keeper) in self.steps.finish().await {
            self.places[index].keeper = Some(keeper);
        }
        self.iter().flat_map(Keeper::leases_left).collect()
    }

    /// Has every secret begin when it is its turn. Hints are subscribed to before the first reads.
    fn begin(&mut self) {
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(keeper) = place.keeper.take() else { continue };
            if let Some(changes) = keeper.source.provider.changes(keeper.reference()) {
                self.hints.push(Box::pin(hint(index, changes)));
            }
            self.steps.wait(index, keeper);
        }
        self.steps.begin();
    }

    /// Takes back a keeper whose step is over.
    fn put_back(&mut self, (index, keeper): Stepped) {
        if let Some(login) = &keeper.tending.parent
            && !self.logins.iter().any(|known| known.same_channel(login))
        {
            self.logins.push(login.clone());
        }
        self.places[index].keeper = Some(keeper);
        self.look(index);
        self.steps.note();
    }

    /// Looks at what a secret needs. One that has not begun, or whose step is under way, is looked at after that.
    fn look(&mut self, index: usize) {
        let place = &mut self.places[index];
        let Some(keeper) = place.keeper.take() else { return };
        if let Some(due_at) = place.due_at.take() {
            self.queue.remove(&(due_at, index));
        }
        match keeper.needs(place.hint_at) {
            Need::Now(step) => {
                if step == Some(Step::Ask) {
                    place.hint_at = None;
                }
                return self.steps.take(index, keeper, step);
            }
            Need::At(at) => {
                self.queue.insert((at, index));
                place.due_at = Some(at);
            }
            Need::Nothing => {}
        }
        place.keeper = Some(keeper);
    }

    fn look_at_what_is_due(&mut self) {
        let now = self.clock.now();
        let due: Vec<usize> =
            self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, index)| *index).collect();
        due.into_iter().for_each(|index| self.look(index));
    }

    fn look_at_leases_of(&mut self, login: &watch::Receiver<Parent>) {
        let hangs =
            |keeper: &Keeper| keeper.tending.parent.as_ref().is_some_and(|parent| parent.same_channel(login));
        for index in 0..self.places.len() {
            if self.places[index].keeper.as_deref().is_some_and(hangs) {
                self.look(index);
            }
        }
    }

    /// Has the source asked when the burst of hints is over; none says that there will be no more of them.
    fn note(&mut self, hint_again: Option<Hint>) {
        let Some((index, changes)) = hint_again else { return };
        let settled_at = later(self.clock.now(), SETTLE);
        self.places[index].hint_at.get_or_insert(settled_at);
        self.hints.push(Box::pin(hint(index, changes)));
        self.look(index);
    }
}

/// How long a burst of change hints may take to end before the source is read: an editor writes a file in several steps.
pub(super) const SETTLE: Duration = Duration::from_millis(50);

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A dropped sender stops the keepers, too.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn due(clock: &Clock, first: Option<&(Timestamp, usize)>) {
    match first {
        Some((at, _)) => clock.sleep_until_time(*at).await,
        None => std::future::pending().await,
    }
}

async fn hint(index: usize, mut changes: watch::Receiver<()>) -> Option<Hint> {
    changes.changed().await.ok()?;
    Some((index, changes))
}

/// Waits until something else is known of one of these logins, and returns it; forgets those that are over. Waits for ever once there are none.
async fn changed(logins: &mut Vec<watch::Receiver<Parent>>) -> watch::Receiver<Parent> {
    while !logins.is_empty() {
        let (changed, index, _) = select_all(logins.iter_mut().map(|login| Box::pin(login.changed()))).await;
        match changed {
            Ok(()) => return logins[index].clone(),
            Err(_) => drop(logins.swap_remove(index)),
        }
    }
    std::future::pending().await
}
