//! What a keeper shares with those who rely on its secret: what is known of it, who needs which value, and who wants to know now.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::handle::Kept;
use super::holders::Holders;
use super::{RECORD, record};
use crate::reference::SecretRef;
use crate::state::{Slot, State};

/// One secret, as its keeper and its handles see it. One lock and one list of waiters: there are thousands of these, and most have nobody who waits.
#[derive(Debug)]
pub(super) struct Shared {
    /// What is kept: the reference without its field.
    pub(super) reference: SecretRef,
    state: State,
    bell: Bell,
    known: Mutex<Known>,
    changed: Notify,
}

/// Has a secret looked at by the loop that keeps it.
#[derive(Debug)]
pub(super) struct Bell {
    pub(super) ring: UnboundedSender<usize>,
    pub(super) index: usize,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    kept: Kept,
    /// Counts the changes of `kept` that are worth waking anybody.
    pub(super) changes: u64,
    holders: Holders,
    /// Counts those who wanted the source asked.
    asked: u64,
    /// Up to which of them the source has answered.
    pub(super) answered: u64,
    /// Whether the keeper is gone.
    pub(super) is_over: bool,
}

impl Shared {
    pub(super) fn new(reference: SecretRef, state: State, bell: Bell) -> Self {
        Self { reference, state, bell, known: Mutex::default(), changed: Notify::new() }
    }

    /// Returns where the secret is remembered.
    pub(super) fn slot(&self) -> Slot {
        self.state.slot(RECORD, &record::name(&self.reference))
    }

    /// Looks at what is kept.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.known().kept)
    }

    /// Changes what is kept, and has everybody who waits look at it.
    pub(super) fn modify(&self, modify: impl FnOnce(&mut Kept)) {
        self.modify_if(|kept| {
            modify(kept);
            true
        });
    }

    /// Changes what is kept, and has everybody who waits look at it where `modify` says so.
    pub(super) fn modify_if(&self, modify: impl FnOnce(&mut Kept) -> bool) {
        let mut known = self.known();
        if modify(&mut known.kept) {
            known.changes += 1;
            drop(known);
            self.changed.notify_waiters();
        }
    }

    /// Looks at who needs which value.
    pub(super) fn holders<T>(&self, look: impl FnOnce(&Holders) -> T) -> T {
        look(&self.known().holders)
    }

    /// Changes who needs which value, and has the keeper look at it.
    pub(super) fn modify_holders<T>(&self, modify: impl FnOnce(&mut Holders) -> T) -> T {
        let modified = modify(&mut self.known().holders);
        self.ring();
        modified
    }

    /// Has the source asked; returns what [`Known::answered`] is once it has answered.
    pub(super) fn ask(&self) -> u64 {
        let mut known = self.known();
        known.asked += 1;
        let asked = known.asked;
        drop(known);
        self.ring();
        asked
    }

    /// Returns the last one who wants the source asked.
    pub(super) fn asked(&self) -> u64 {
        self.known().asked
    }

    /// Tells whether somebody waits for the source's answer.
    pub(super) fn is_asked(&self) -> bool {
        let known = self.known();
        known.answered < known.asked
    }

    /// Tells everybody up to `asked` that the source has answered.
    pub(super) fn answer(&self, asked: u64) {
        let mut known = self.known();
        if known.answered < asked {
            known.answered = asked;
            drop(known);
            self.changed.notify_waiters();
        }
    }

    /// Lets everybody who waits know that there is nothing to wait for any more.
    pub(super) fn end(&self) {
        self.known().is_over = true;
        self.changed.notify_waiters();
    }

    /// Waits until `look` finds something.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub(super) async fn wait<T>(&self, look: impl Fn(&Known) -> Option<T>) -> T {
        loop {
            // Before the look: whatever changes after it wakes this.
            let changed = self.changed.notified();
            if let Some(found) = look(&self.known()) {
                return found;
            }
            changed.await;
        }
    }

    fn ring(&self) {
        // Nobody hears it before the loop begins, which looks at everything, nor after it has ended.
        self.bell.ring.send(self.bell.index).ok();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
