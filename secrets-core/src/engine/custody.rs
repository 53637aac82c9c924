//! What the engine has to answer for beside the deliveries: leases that nobody keeps any more, and all of them at the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use super::delivery::RECORD as DELIVERY;
use crate::client::Client;
use crate::keeper::{KeeperHandle, RECORD, record};
use crate::provider::Ending;
use crate::reference::SecretRef;
use crate::state::State;

/// The records of an engine's secrets.
#[derive(Clone, Debug)]
pub(super) struct Custody {
    state: State,
    kept: Arc<[KeeperHandle]>,
    /// The names of the records of the deliveries' transactions.
    deliveries: BTreeSet<String>,
    revoke_on_shutdown: bool,
}

impl Custody {
    pub(super) fn new(
        state: State,
        kept: impl Iterator<Item = KeeperHandle>,
        revoke_on_shutdown: bool,
    ) -> Self {
        Self { state, kept: kept.collect(), deliveries: BTreeSet::new(), revoke_on_shutdown }
    }

    /// Returns what sees the values of `reference`, which has no field.
    pub(super) fn kept(&self, reference: &SecretRef) -> Option<&KeeperHandle> {
        self.kept.iter().find(|handle| handle.reference() == reference)
    }

    /// Keeps the records with these names of deliveries.
    pub(super) fn with_deliveries(self, names: impl Iterator<Item = String>) -> Self {
        Self { deliveries: names.collect(), ..self }
    }

    /// Ends the leases of records that no secret of the configuration has any more, and forgets the deliveries that are gone.
    pub(super) async fn sweep(&self, client: &Client) {
        for slot in self.state.slots(DELIVERY).iter().filter(|slot| !self.deliveries.contains(slot.name())) {
            slot.clear().await;
        }
        // Without a record nobody needs the names of all.
        let records = self.state.slots(RECORD);
        if records.is_empty() {
            return;
        }
        let kept: BTreeSet<String> = self.kept.iter().map(|handle| handle.slot().name().to_owned()).collect();
        for slot in records.iter().filter(|slot| !kept.contains(slot.name())) {
            let Some(bytes) = slot.load().await else { continue };
            if let Some((reference, realm, leases)) = record::read_leases(&bytes)
                && let Ok(provider) = client.provider(&reference)
                && provider.realm() == realm
                && let Some(tends) = provider.leases()
            {
                for lease in leases {
                    match tends.revoke(&lease).await {
                        Ok(()) => {
                            debug!(%reference, "gave back the lease of a secret that is not configured any more")
                        }
                        Err(error) => {
                            info!(%reference, %error, "the lease of a secret that is not configured any more ends by itself")
                        }
                    }
                }
            }
            slot.clear().await;
        }
    }

    /// Ends the sessions, and forgets the values that end with them.
    pub(super) async fn shut_down(&self, client: &Client, limit: Duration) {
        client.shut_down(self.revoke_on_shutdown, limit).await;
        for handle in self.kept.iter() {
            let leased = handle.kept().upkeep.is_some_and(|upkeep| upkeep.lease().is_some());
            if leased && client.ending(handle.reference(), self.revoke_on_shutdown) == Ending::Revoke {
                handle.slot().clear().await;
            }
        }
    }
}
