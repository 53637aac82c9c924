//! Secrets begin in turns: a thousand first reads at once would take the room of a thousand, while their provider asks for a few at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
