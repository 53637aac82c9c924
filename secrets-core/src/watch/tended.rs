//! One secret that is kept fresh for all who watch it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::client::named;
use crate::keeper::{KeeperHandle, Keepers};
use crate::provider::{Ending, Provider};

/// A secret that is kept fresh until this is dropped.
#[derive(Debug)]
pub(crate) struct Tended {
    handle: KeeperHandle,
    stop: watch::Sender<bool>,
}

impl Tended {
    pub(super) fn new(handle: KeeperHandle, stop: watch::Sender<bool>) -> Self {
        Self { handle, stop }
    }

    /// Returns what one more user sees of it.
    pub(super) fn handle(&self) -> KeeperHandle {
        self.handle.clone()
    }
}

impl Drop for Tended {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Keeps a secret until `stop`, and then gives back what it leased, if `ending` says nothing else.
pub(super) async fn tend(
    keepers: Keepers,
    kept: KeeperHandle,
    provider: Arc<dyn Provider>,
    before: Option<JoinHandle<()>>,
    stop: watch::Receiver<bool>,
    ending: watch::Receiver<Ending>,
) {
    if let Some(before) = before {
        // Two would forget each other's records. That it has panicked, its own watchers see.
        before.await.ok();
    }
    let leases = keepers.run(stop).await;
    let reference = kept.reference();
    if *ending.borrow() == Ending::Keep {
        return;
    }
    if let Some(tends) = provider.leases() {
        for lease in &leases {
            match tokio::time::timeout(GIVING_BACK, tends.revoke(lease)).await {
                Ok(Ok(())) => {
                    debug!(%reference, "gave back the lease of a secret that nobody watches any more")
                }
                Ok(Err(error)) => {
                    info!(error = %named(error, reference), "the lease of a secret that nobody watches any more ends by itself");
                }
                Err(_) => info!(%reference, "a lease could not be given back in time; it ends by itself"),
            }
        }
    }
    kept.slot().clear().await;
}

/// How long giving a lease back may take: a source that is given back a hundred at once takes its time for each. The end of the client does not wait for it.
const GIVING_BACK: Duration = Duration::from_secs(30);
