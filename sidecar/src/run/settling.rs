//! The secrets of the command's variables, as they are kept fresh.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::engine::{Beside, Engine, refresh_all};
use keywheel_core::keeper::{Hold, KeeperHandle};
use keywheel_core::{Secret, SecretRef};
use tokio::sync::Notify;

/// The newest values, and a hold on those that the command has.
#[derive(Debug)]
pub(crate) struct Kept {
    secrets: BTreeMap<SecretRef, (KeeperHandle, Hold)>,
    wake: Arc<Notify>,
}

impl Kept {
    /// Takes what the engine keeps for the command.
    pub(crate) fn of(engine: &Engine, beside: &Beside) -> Self {
        let secret = |reference: &SecretRef| {
            let handle = engine.kept(reference)?;
            let hold = handle.hold();
            Some((reference.whole(), (handle, hold)))
        };
        Self {
            secrets: beside.references.iter().filter_map(secret).collect(),
            wake: Arc::clone(&beside.wake),
        }
    }

    pub(super) fn secret(&self, reference: &SecretRef) -> Option<Arc<Secret>> {
        self.secrets.get(&reference.whole())?.0.kept().secret
    }

    /// Says that the command has the newest values, and no older ones.
    pub(super) fn confirm(&self) {
        for (handle, hold) in self.secrets.values() {
            hold.confirm(handle.revision());
        }
    }
}

/// Waits for changes. When there is one, the other secrets are asked at once, so that those which were written together reach the command with one restart.
pub(super) struct Settling {
    wake: Arc<Notify>,
    handles: Vec<KeeperHandle>,
    under_way: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Settling {
    pub(super) fn new(kept: &Kept) -> Self {
        let handles = kept.secrets.values().map(|(handle, _)| handle.clone()).collect();
        Self { wake: Arc::clone(&kept.wake), handles, under_way: None }
    }

    /// Waits until something has changed and everything else was asked.
    ///
    /// # Cancel safety
    /// A change that was seen is not forgotten when this is dropped.
    pub(super) async fn settled(&mut self) {
        if self.under_way.is_none() {
            self.wake.notified().await;
            let handles = self.handles.clone();
            self.under_way = Some(Box::pin(async move {
                let answering = handles.iter().filter(|handle| handle.kept().error.is_none());
                refresh_all(answering, WITHIN).await;
            }));
        }
        if let Some(under_way) = &mut self.under_way {
            under_way.await;
        }
        self.under_way = None;
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling").field("secrets", &self.handles.len()).finish_non_exhaustive()
    }
}

/// How long the others may take to answer.
const WITHIN: Duration = Duration::from_millis(500);
