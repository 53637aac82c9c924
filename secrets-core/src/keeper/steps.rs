//! The steps under way: a task for each, but for those of secrets that begin.
//!
//! Secrets begin in turns: a thousand first reads at once would take the room of a thousand, while their provider asks for a few at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};

use super::Keeper;
use crate::schedule::Step;

/// A keeper, with its place, to which it comes back.
pub(super) type Stepped = (usize, Box<Keeper>);

/// The keepers that are not in their places.
#[derive(Debug)]
pub(super) struct Steps {
    tasks: JoinSet<()>,
    over: (mpsc::UnboundedSender<Stepped>, mpsc::UnboundedReceiver<Stepped>),
    /// Those that have not begun, by provider.
    waiting: BTreeMap<String, Waiting<Stepped>>,
    /// How many are not back, those that have not begun among them.
    away: usize,
    /// How many came back since nobody was away.
    back: usize,
    quiet: Arc<Notify>,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            over: mpsc::unbounded_channel(),
            waiting: BTreeMap::new(),
            away: 0,
            back: 0,
            quiet: Arc::default(),
        }
    }

    /// Returns what is notified when several were away and nobody is any more.
    pub(super) fn quiet(&self) -> Arc<Notify> {
        Arc::clone(&self.quiet)
    }

    /// Has `keeper` wait for its turn to begin.
    pub(super) fn wait(&mut self, index: usize, keeper: Box<Keeper>) {
        let provider = keeper.reference().provider().to_owned();
        self.waiting.entry(provider).or_default().add((index, keeper));
        self.away += 1;
    }

    /// Has those begin whose turn it is, and the others after them.
    ///
    /// There is a task for each turn and not for each secret: what a secret leaves behind would come to lie between the rooms of such tasks, and keep them from
    /// being used again.
    pub(super) fn begin(&mut self) {
        for waiting in self.waiting.values() {
            for _ in 0..waiting.at_once() {
                let (waiting, over) = (waiting.clone(), self.over.0.clone());
                self.tasks.spawn(async move {
                    while let Some((index, mut keeper)) = waiting.next() {
                        keeper.begin().await;
                        over.send((index, keeper)).ok();
                    }
                });
            }
        }
    }

    /// Has `keeper` do what it needs.
    pub(super) fn take(&mut self, index: usize, mut keeper: Box<Keeper>, step: Option<Step>) {
        let over = self.over.0.clone();
        self.tasks.spawn(async move {
            keeper.tend(step).await;
            over.send((index, keeper)).ok();
        });
        self.away += 1;
    }

    /// Waits for the next one that is back; for ever where nobody is away.
    ///
    /// # Cancel safety
    /// Safe to drop at any moment: nobody is lost.
    pub(super) async fn next(&mut self) -> Stepped {
        loop {
            tokio::select! {
                biased;
                Some(stepped) = self.over.1.recv() => {
                    self.away -= 1;
                    return stepped;
                }
                Some(ended) = self.tasks.join_next() => pass_on(ended),
            }
        }
    }

    /// Notes that one is back, and away again where it has more to do.
    pub(super) fn note(&mut self) {
        self.back += 1;
        if self.away == 0 {
            // Their rooms are free before anybody gives them back: `next` takes no more than a hundred at a time.
            while let Some(ended) = self.tasks.try_join_next() {
                pass_on(ended);
            }
            // Somebody wakes up for it, which one alone is not worth.
            if self.back > 1 {
                self.quiet.notify_one();
            }
            self.back = 0;
        }
    }

    /// Lets what is under way come to its end, begins nothing more, and returns who is back.
    pub(super) async fn finish(&mut self) -> Vec<Stepped> {
        self.waiting.values().for_each(Waiting::clear);
        while let Some(ended) = self.tasks.join_next().await {
            pass_on(ended);
        }
        std::iter::from_fn(|| self.over.1.try_recv().ok()).collect()
    }
}

/// Passes a panic in a step on: nobody would keep its secret any more.
fn pass_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Those of one provider that wait for their first read: one that hangs holds up nobody else's secrets. Cheap to clone: all clones are one queue.
#[derive(Debug)]
pub(super) struct Waiting<T>(Arc<Mutex<VecDeque<T>>>);

impl<T> Waiting<T> {
    /// The most first reads of one provider at once: more than it asks for at a time, so that it is never idle; and several calls of one that answers twenty at
    /// once (BatchGetSecretValue), which would be asked for fewer otherwise.
    pub(super) const AT_ONCE: usize = 100;

    /// Adds one that comes after all others.
    pub(super) fn add(&self, waiting: T) {
        self.queue().push_back(waiting);
    }

    /// Returns how many may begin at once.
    pub(super) fn at_once(&self) -> usize {
        self.queue().len().min(Self::AT_ONCE)
    }

    /// Takes the one that has waited longest.
    pub(super) fn next(&self) -> Option<T> {
        self.queue().pop_front()
    }

    /// Has nobody begin any more.
    pub(super) fn clear(&self) {
        self.queue().clear();
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Waiting<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
