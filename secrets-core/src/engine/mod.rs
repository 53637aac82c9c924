//! Runs a configuration: keeps every secret fresh, and every delivery directory in step with its secrets.
//!
//! One [`Keeper`] per secret asks its source; one delivery loop per directory renders, writes and tells. They
//! share nothing but the keepers' newest values, so that one that fails holds no other up.

mod delivery;
mod planned;
mod status;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::delivery::{Delivery, Input};
pub use self::planned::Planned;
pub use self::status::{DeliveryStatus, SecretStatus, Status, StatusHandle};
use crate::client::Client;
use crate::clock::Clock;
use crate::config::{Config, DeliveryConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{Keeper, KeeperHandle};
use crate::reference::SecretRef;

/// Everything that a configuration asks for, built and not yet started.
#[derive(Debug)]
pub struct Engine {
    client: Client,
    keepers: Vec<Keeper>,
    deliveries: Vec<Delivery>,
    status: StatusHandle,
}

impl Engine {
    /// Builds providers, keepers and deliveries. Reads the files that the providers' settings name and looks at the volumes; asks no server and
    /// writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first thing that cannot work.
    pub fn build(config: &Config, clock: &Clock) -> Result<Self> {
        if config.deliveries.is_empty() {
            return Err(Error::config("start", "the configuration has no deliveries"));
        }
        let client = Client::build(&config.providers, clock)?;
        let intervals = intervals(&config.deliveries);
        let mut handles = BTreeMap::new();
        let mut keepers = Vec::new();
        for (reference, refresh) in intervals {
            let (keeper, handle) = Keeper::new(&client, &reference, refresh, clock)?;
            keepers.push(keeper);
            handles.insert(reference, handle);
        }
        let deliveries: Vec<Delivery> =
            config.deliveries.iter().map(|delivery| build_delivery(delivery, &handles, clock)).collect();
        deliveries.iter().try_for_each(Delivery::check_volume)?;
        let tell = |keeper: &mut Keeper| {
            for delivery in &deliveries {
                if delivery.uses(keeper.reference()) {
                    keeper.tell(delivery.wake());
                }
            }
        };
        keepers.iter_mut().for_each(tell);
        let status = StatusHandle::new(deliveries.iter().map(Delivery::status).collect(), clock.clone());
        Ok(Self { client, keepers, deliveries, status })
    }

    /// Returns what tells how the deliveries stand, also while and after they run.
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Keeps everything fresh until `stop` completes, then lets what is being written or told come to its end, for at most
    /// [`DRAIN`](Self::DRAIN), and ends the providers' sessions.
    ///
    /// # Errors
    /// A directory that cannot be delivered into, before anything is asked or written; or a part of the engine that ended by itself, which is a
    /// defect.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let (stopping, stopped) = watch::channel(false);
        let mut running: JoinSet<()> = JoinSet::new();
        for mut delivery in self.deliveries {
            delivery.open().await?;
            running.spawn(delivery.run(stopped.clone()));
        }
        let mut keeping: JoinSet<()> = JoinSet::new();
        for keeper in self.keepers {
            keeping.spawn(keeper.run());
        }
        let client = self.client.clone();
        keeping.spawn(async move {
            client.maintain().await;
            // No provider has a session of its own to keep.
            std::future::pending().await
        });
        let ended = tokio::select! {
            () = stop => Ok(()),
            _ = keeping.join_next() => Err(broken()),
            _ = running.join_next() => Err(broken()),
        };
        keeping.shutdown().await;
        stopping.send_replace(true);
        let drained =
            tokio::time::timeout(Self::DRAIN, async { while running.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!(after = ?Self::DRAIN, "a delivery did not come to its end in time; it is stopped where it is");
            running.shutdown().await;
        }
        self.client.close(Self::CLOSE).await;
        ended
    }

    /// How long a delivery under way may take after it was asked to stop.
    pub const DRAIN: Duration = Duration::from_secs(10);
    /// How long ending the providers' sessions may take.
    pub const CLOSE: Duration = Duration::from_secs(3);

    /// Reads every secret once, delivers everything, tells everybody, and ends.
    ///
    /// # Errors
    /// The first error; the other deliveries are made all the same.
    pub async fn once(self) -> Result<()> {
        let inputs = self.read_all().await;
        let mut result = Ok(());
        for mut delivery in self.deliveries {
            let delivered = match delivery.take(&inputs) {
                Ok(inputs) => match delivery.open().await {
                    Ok(()) => delivery.once(inputs).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match delivered {
                Ok(generation) => info!(delivery = delivery.name(), generation, "delivered"),
                Err(error) if result.is_ok() => result = Err(error),
                Err(error) => warn!(delivery = delivery.name(), %error, "not delivered"),
            }
        }
        self.client.close(Self::CLOSE).await;
        result
    }

    /// Reads every secret once and returns, for each delivery by its name, what delivering it would change; writes nothing.
    ///
    /// # Errors
    /// The first error.
    pub async fn plan(self) -> Result<Vec<(String, Vec<Planned>)>> {
        let inputs = self.read_all().await;
        self.client.close(Self::CLOSE).await;
        let plan =
            |delivery: &Delivery| Ok((delivery.name().to_owned(), delivery.plan(&delivery.take(&inputs)?)?));
        self.deliveries.iter().map(plan).collect()
    }

    async fn read_all(&self) -> delivery::Reads {
        let read = async |keeper: &Keeper| {
            let reference = keeper.reference().clone();
            let secret = self.client.read(&reference).await.map(Arc::new);
            (reference, secret)
        };
        join_all(self.keepers.iter().map(read)).await.into_iter().collect()
    }
}

/// Returns each secret that is to be kept, with the shortest interval that anybody asks for.
fn intervals(deliveries: &[DeliveryConfig]) -> BTreeMap<SecretRef, Duration> {
    let mut intervals = BTreeMap::new();
    for secret in deliveries.iter().flat_map(|delivery| delivery.secrets.values()) {
        let refresh = intervals.entry(secret.reference.whole()).or_insert(secret.refresh);
        *refresh = secret.refresh.min(*refresh);
    }
    intervals
}

fn build_delivery(
    config: &DeliveryConfig,
    handles: &BTreeMap<SecretRef, KeeperHandle>,
    clock: &Clock,
) -> Delivery {
    let input = |(name, secret): (&String, &crate::config::SecretConfig)| {
        let handle = handles.get(&secret.reference.whole())?.clone();
        Some((name.clone(), Input { config: secret.clone(), handle }))
    };
    let inputs = config.secrets.iter().filter_map(input).collect();
    Delivery::new(config.clone(), inputs, Arc::new(Notify::new()), clock.clone())
}

fn broken() -> Error {
    Error::new(ErrorKind::Invalid, "run", "a part of the engine ended by itself")
        .with_help("this is a defect; please report it")
}
