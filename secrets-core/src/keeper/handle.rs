//! What others see of a secret that is kept.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::holders::Hold;
use super::shared::Shared;
use crate::error::Error;
use crate::reference::SecretRef;
use crate::secret::{Secret, Upkeep};
use crate::state::Slot;

/// What is known of a secret at a moment. The newest good value stays while its source fails.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The newest good value; `None` until the first read succeeded.
    pub secret: Option<Arc<Secret>>,
    /// Counts the values: it tells a new one from the last, also where the source has written it under the same version.
    pub revision: u64,
    /// How the newest value stays fresh, renewals included.
    pub upkeep: Option<Upkeep>,
    /// When the newest value ends, where that is known: its lease's end or that of the login's token behind it.
    pub deadline: Option<Timestamp>,
    /// When the value before the newest one ended or ends, where that is known.
    pub replaced_ends_at: Option<Timestamp>,
    /// When the source last confirmed that this is the newest value.
    pub confirmed_at: Option<Timestamp>,
    /// When the source is asked next.
    pub next_at: Option<Timestamp>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<Error>,
    /// How many attempts failed in a row.
    pub failures: u32,
}

/// Sees what [`Keepers`](super::Keepers) keep of one secret. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperHandle {
    shared: Arc<Shared>,
    /// The change that was seen here last.
    seen: u64,
}

impl KeeperHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seen: 0 }
    }

    /// Returns what is kept: the reference without its field.
    pub fn reference(&self) -> &SecretRef {
        &self.shared.reference
    }

    /// Returns where the secret is remembered.
    pub(crate) fn slot(&self) -> Slot {
        self.shared.slot()
    }

    /// Returns what is known now.
    pub fn kept(&self) -> Kept {
        self.shared.look(Kept::clone)
    }

    /// Returns [`Kept::revision`]: 0 until there is a value.
    pub fn revision(&self) -> u64 {
        self.shared.look(|kept| kept.revision)
    }

    /// Waits until something is known that was not seen here before; for ever once the keeper is gone.
    pub async fn changed(&mut self) {
        if !self.next().await {
            std::future::pending().await
        }
    }

    /// Waits as [`changed`](Self::changed) does; tells whether the keeper is still there.
    pub(crate) async fn next(&mut self) -> bool {
        let seen = self.seen;
        let news = self.shared.wait(|known| match known.changes > seen {
            true => Some(Some(known.changes)),
            false => known.is_over.then_some(None),
        });
        match news.await {
            Some(changes) => {
                self.seen = changes;
                true
            }
            None => false,
        }
    }

    /// Has the leases of replaced values stay until the returned hold has confirmed a newer value, or is dropped.
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::clone(&self.shared))
    }

    /// Has the source asked now, and waits until it answered, `limit` has passed or the keeper is gone. No new value is made for it.
    pub async fn refresh(&self, limit: Duration) {
        let asked = self.shared.ask();
        let answered = self.shared.wait(|known| (known.answered >= asked || known.is_over).then_some(()));
        // What did not come in time comes with the next change.
        tokio::time::timeout_at(Instant::now() + limit, answered).await.ok();
    }
}
