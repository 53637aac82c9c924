//! Runs a configuration: keeps every secret fresh, and every delivery directory in step with its secrets.
//!
//! [`Keepers`] ask the sources, for each secret on its own; one delivery loop per directory renders, writes and tells. They
//! share nothing but the keepers' newest values, so that one that fails holds no other up.

mod acknowledge;
mod beginning;
mod beside;
mod custody;
mod delivery;
mod offered;
mod planned;
mod refresh;
mod reliance;
mod status;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::acknowledge::Acknowledger;
pub use self::beginning::Beginning;
pub use self::beside::Beside;
use self::custody::Custody;
use self::delivery::{Delivery, Input};
pub use self::offered::{Given, Offered, Withheld};
pub use self::planned::Planned;
pub use self::refresh::{RefreshHandle, Refreshed, refresh_all};
pub use self::status::{DeliveryStatus, SecretStatus, Status, StatusHandle};
use crate::client::Client;
use crate::clock::Clock;
use crate::config::{Config, DeliveryConfig, SecretConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{Keeper, KeeperHandle, Keepers, Pace};
use crate::lease::Lease;
use crate::provider::Ending;
use crate::reference::SecretRef;
use crate::state::State;

/// Everything that a configuration asks for, built and not yet started.
#[derive(Debug)]
pub struct Engine {
    client: Client,
    keepers: Keepers,
    deliveries: Vec<Delivery>,
    beside: Vec<KeeperHandle>,
    status: StatusHandle,
    custody: Custody,
    acknowledger: Option<Acknowledger>,
    clock: Clock,
}

impl Engine {
    /// Builds providers, keepers and deliveries. Reads the files that the providers' settings name and looks at the volumes; asks no server and
    /// writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first thing that cannot work.
    pub fn build(config: &Config, clock: &Clock, state: &State) -> Result<Self> {
        Self::build_beside(config, clock, state, &Beside::default())
    }

    /// Builds what [`build`](Self::build) does, and what is `beside` it. Without deliveries there have to be secrets to keep beside them, or a
    /// supervisor, whose application can do without any.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_beside(config: &Config, clock: &Clock, state: &State, beside: &Beside) -> Result<Self> {
        let has_application = beside.supervisor.as_ref().is_some_and(|supervisor| !supervisor.is_absent());
        if config.deliveries.is_empty() && beside.references.is_empty() && !has_application {
            return Err(Error::config("start", "the configuration has no deliveries"));
        }
        let client = Client::build(&config.providers, clock, state)?;
        let mut handles = BTreeMap::new();
        let mut keepers = Keepers::new(clock);
        for (reference, pace) in beside.paces(&config.deliveries) {
            let handle = keepers.keep(&client, &reference, pace, state)?;
            handles.insert(reference, handle);
        }
        let mut deliveries: Vec<Delivery> = config
            .deliveries
            .iter()
            .map(|delivery| Ok(build_delivery(beside.equip(delivery)?, &handles, clock, state)))
            .collect::<Result<_>>()?;
        let (acknowledger, in_use) = Acknowledger::of(&config.deliveries, &client, clock)?.unzip();
        deliveries.iter_mut().for_each(|delivery| delivery.acknowledge_to(in_use.clone()));
        deliveries.iter().try_for_each(Delivery::check_volume)?;
        let mut listeners: BTreeMap<SecretRef, Vec<Arc<Notify>>> = BTreeMap::new();
        let of_deliveries = deliveries.iter().map(|delivery| (delivery.wholes(), delivery.wake()));
        for (wholes, wake) in of_deliveries.chain([(beside.wholes(), Arc::clone(&beside.wake))]) {
            for whole in wholes {
                listeners.entry(whole).or_default().push(Arc::clone(&wake));
            }
        }
        for keeper in keepers.iter_mut() {
            let told = listeners.remove(keeper.reference()).unwrap_or_default();
            told.into_iter().for_each(|wake| keeper.tell(wake));
        }
        let status = StatusHandle::new(
            deliveries.iter().map(Delivery::status).collect(),
            beside.inputs(&handles),
            clock.clone(),
        )
        .with_meters(client.meters());
        let custody = Custody::new(state.clone(), handles.values().cloned(), config.revoke_on_shutdown)
            .with_deliveries(deliveries.iter().map(|delivery| delivery.slot().name().to_owned()));
        let own = |reference: &SecretRef| handles.get(&reference.whole()).cloned();
        let beside = beside.references.iter().filter_map(own).collect();
        let clock = clock.clone();
        Ok(Self { client, keepers, deliveries, beside, status, custody, acknowledger, clock })
    }

    /// Returns what tells how the deliveries stand, also while and after they run.
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Returns what is notified when several secrets were asked for at once, and all sources have answered: what that took can be given back.
    pub fn quiet(&self) -> Arc<Notify> {
        self.keepers.quiet()
    }

    /// Returns what has deliveries made at once, while they run.
    pub fn refresher(&self) -> RefreshHandle {
        RefreshHandle::new(self.deliveries.iter().map(Delivery::refresher).collect())
    }

    /// Returns what tells when everything is there for the first time, while it runs.
    pub fn beginning(&self) -> Beginning {
        let deliveries = self.deliveries.iter().map(Delivery::beginning).collect();
        Beginning { deliveries, beside: self.beside.clone(), clock: self.clock.clone() }
    }

    /// Keeps everything fresh until `stop` completes, then lets what is being read, written or told come to its end, for at most
    /// [`DRAIN`](Self::DRAIN), and ends the providers' sessions. What `stop` returns says whether another engine goes on with them.
    ///
    /// # Errors
    /// A directory that cannot be delivered into, before anything is asked or written; or a part of the engine that ended by itself, which is a
    /// defect.
    pub async fn run(self, stop: impl Future<Output = Next>) -> Result<()> {
        let (stopping, stopped) = watch::channel(false);
        let mut running: JoinSet<Result<()>> = JoinSet::new();
        for mut delivery in self.deliveries {
            delivery.open().await?;
            running.spawn(delivery.run(stopped.clone()));
        }
        let (leaving, left) = watch::channel(false);
        let mut keeping: JoinSet<Vec<Lease>> = JoinSet::new();
        keeping.spawn(self.keepers.run(left));
        let mut tending: JoinSet<()> = JoinSet::new();
        let (client, custody) = (self.client.clone(), self.custody.clone());
        tending.spawn(async move {
            tokio::join!(client.maintain(), custody.sweep(&client));
            // No provider has a session of its own to keep.
            std::future::pending().await
        });
        if let Some(acknowledger) = self.acknowledger {
            tending.spawn(acknowledger.run());
        }
        let ended = tokio::select! {
            next = stop => Ok(next),
            Some(_) = keeping.join_next() => Err(broken()),
            Some(ended) = running.join_next() => Err(ended.ok().and_then(Result::err).unwrap_or_else(broken)),
            _ = tending.join_next() => Err(broken()),
        };
        leaving.send_replace(true);
        drain(&mut keeping, Self::CLOSE, "a read did not come to its end in time; it is given up").await;
        stopping.send_replace(true);
        drain(
            &mut running,
            Self::DRAIN,
            "a delivery did not come to its end in time; it is stopped where it is",
        )
        .await;
        tending.shutdown().await;
        match ended {
            Ok(Next::Other) => self.client.close(Ending::Keep, Self::CLOSE).await,
            _ => self.custody.shut_down(&self.client, Self::CLOSE).await,
        }
        ended.map(drop)
    }

    /// How long a delivery under way may take after it was asked to stop.
    pub const DRAIN: Duration = Duration::from_secs(10);
    /// How long a read under way may take then, and how long ending the providers' sessions may take.
    pub const CLOSE: Duration = Duration::from_secs(3);

    /// Reads every secret once, delivers everything, tells everybody, and ends.
    ///
    /// # Errors
    /// The first error; the other deliveries are made all the same.
    pub async fn once(self) -> Result<()> {
        let read = async |keeper: &Keeper| (keeper.reference().clone(), keeper.once(&self.client).await);
        let inputs: delivery::Reads = join_all(self.keepers.iter().map(read)).await.into_iter().collect();
        let leased = inputs.values().flatten().any(|secret| secret.upkeep.lease().is_some());
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
        // The application lives on what was delivered: its leases stay, and with them the login that they depend on.
        let ending = if leased { Ending::Keep } else { Ending::Revoke };
        self.client.close(ending, Self::CLOSE).await;
        result
    }

    /// Reads every secret once and returns, for each delivery by its name, what delivering it would change; writes nothing. Leases that were
    /// made for it are given back.
    ///
    /// # Errors
    /// The first error.
    pub async fn plan(self) -> Result<Vec<(String, Vec<Planned>)>> {
        let read = async |keeper: &Keeper| {
            let secret = self.client.read(keeper.reference()).await.map(Arc::new);
            (keeper.reference().clone(), secret)
        };
        let inputs: delivery::Reads = join_all(self.keepers.iter().map(read)).await.into_iter().collect();
        self.client.close(Ending::Revoke, Self::CLOSE).await;
        let plan =
            |delivery: &Delivery| Ok((delivery.name().to_owned(), delivery.plan(&delivery.take(&inputs)?)?));
        self.deliveries.iter().map(plan).collect()
    }
}

/// Who comes after an engine that is asked to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Nobody: the program ends, and logins and leases are given back, unless the configuration says otherwise.
    Nobody,
    /// Another engine on the same [`State`], which goes on with them.
    Other,
}

/// Waits for the tasks to end, and ends them when `limit` has passed.
async fn drain<T: 'static>(tasks: &mut JoinSet<T>, limit: Duration, late: &str) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        warn!(after = ?limit, "{late}");
        tasks.shutdown().await;
    }
}

/// Returns each secret that is to be kept, with the shortest interval and the longest overlap that anybody asks for.
fn paces(deliveries: &[DeliveryConfig]) -> BTreeMap<SecretRef, Pace> {
    let mut paces: BTreeMap<SecretRef, Pace> = BTreeMap::new();
    for delivery in deliveries {
        for secret in delivery.secrets.values() {
            let (refresh, overlap) = (secret.refresh, delivery.change.overlap_set.unwrap_or_default());
            let pace = paces.entry(secret.reference.whole()).or_insert(Pace { refresh, overlap });
            *pace = Pace { refresh: refresh.min(pace.refresh), overlap: overlap.max(pace.overlap) };
        }
    }
    paces
}

fn build_delivery(
    mut config: DeliveryConfig,
    handles: &BTreeMap<SecretRef, KeeperHandle>,
    clock: &Clock,
    state: &State,
) -> Delivery {
    let input = |(name, config): (String, SecretConfig)| {
        let handle = handles.get(&config.reference.whole())?.clone();
        Some((name.into(), Input { config, handle }))
    };
    let inputs = std::mem::take(&mut config.secrets).into_iter().filter_map(input).collect();
    Delivery::new(config, Arc::new(inputs), clock.clone(), state)
}

fn broken() -> Error {
    Error::new(ErrorKind::Invalid, "run", "a part of the engine ended by itself")
        .with_help("this is a defect; please report it")
}
