//! Tells rotations which versions the applications work with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::client::{Client, named};
use crate::clock::Clock;
use crate::config::DeliveryConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::reference::SecretRef;
use crate::rotation::acknowledge;
use crate::schedule::{Failure, after_failure};

/// The version of each secret that an application works with, of those that are acknowledged; deliveries write it, the newest counts.
pub(super) type InUse = watch::Sender<BTreeMap<SecretRef, String>>;

/// Writes down beside each secret what deliveries work with, until the source has it.
#[derive(Debug)]
pub(super) struct Acknowledger {
    client: Client,
    clock: Clock,
    replica: Arc<str>,
    in_use: watch::Receiver<BTreeMap<SecretRef, String>>,
}

impl Acknowledger {
    /// Makes one for the secrets of `deliveries` that are acknowledged, and what these write to; none where there are none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a secret that cannot be acknowledged, or that two deliveries would.
    pub(super) fn of(
        deliveries: &[DeliveryConfig],
        client: &Client,
        clock: &Clock,
    ) -> Result<Option<(Self, InUse)>> {
        let secrets = deliveries.iter().flat_map(|delivery| delivery.secrets.values());
        let mut known = BTreeSet::new();
        for secret in secrets.filter(|secret| secret.acknowledge) {
            let reference = secret.reference.whole();
            let wrong = |reason| named(Error::config("acknowledge", reason), &reference);
            let store = client.provider(&reference)?.store();
            store.ok_or_else(|| wrong("the provider only reads"))?.validate(&reference)?;
            if !known.insert(reference.clone()) {
                return Err(wrong("it is acknowledged twice; one delivery has to say that it works with it"));
            }
        }
        let Some(delivery) = deliveries.first().filter(|_| !known.is_empty()) else { return Ok(None) };
        let replica = delivery.change.replica.as_str().into();
        let (told, in_use) = watch::channel(BTreeMap::new());
        Ok(Some((Self { client: client.clone(), clock: clock.clone(), replica, in_use }, told)))
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut done: BTreeMap<SecretRef, String> = BTreeMap::new();
        let mut failures = 0;
        loop {
            let wanted = self.in_use.borrow_and_update().clone();
            let mut wait = None;
            for (secret, version) in wanted {
                if done.get(&secret) == Some(&version) {
                    continue;
                }
                match self.acknowledge(&secret, &version).await {
                    Ok(()) => {
                        info!(secret = %secret, version, replica = %self.replica, "acknowledged");
                        failures = 0;
                        done.insert(secret, version);
                    }
                    Err(error) => {
                        failures += 1;
                        wait = Some(pause(&secret, &error, failures));
                    }
                }
            }
            tokio::select! {
                changed = self.in_use.changed() => if changed.is_err() { std::future::pending().await },
                () = sleep(&self.clock, wait) => {}
            }
        }
    }

    async fn acknowledge(&self, secret: &SecretRef, version: &str) -> Result<()> {
        let provider = self.client.provider(secret)?;
        acknowledge(provider, secret, &self.replica, version).await
    }
}

/// Returns how long to wait after a failure. That others wrote at the same moment is none of anybody's.
fn pause(secret: &SecretRef, error: &Error, count: u32) -> Duration {
    if error.kind() == ErrorKind::Conflict {
        return CROWDED.mul_f64(fastrand::f64());
    }
    if count.is_power_of_two() {
        warn!(%secret, %error, failures = count, "could not acknowledge; the rotation may wait for its deadline");
    }
    let failure = Failure { temporary: error.is_temporary(), count, retry_after: error.retry_after() };
    after_failure(failure, SHORTEST_WAIT, fastrand::f64())
}

async fn sleep(clock: &Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep_until(clock.instant() + wait).await,
        None => std::future::pending().await,
    }
}

const CROWDED: Duration = Duration::from_millis(500);
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
