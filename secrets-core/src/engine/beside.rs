//! What a program has the engine keep and tell beside the deliveries of a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::delivery::{Input, Inputs};
use super::{Engine, paces};
use crate::config::{DeliveryConfig, SecretConfig};
use crate::error::{Error, Result};
use crate::keeper::{KeeperHandle, Pace};
use crate::notify::{Cluster, Notifier, Supervisor, no_cluster, unsupervised};
use crate::program::Runner;
use crate::reference::SecretRef;

/// Secrets that the program itself uses, and who restarts the application or replaces its pods.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Secrets that are kept as those of the deliveries are; see [`Engine::kept`].
    pub references: Vec<SecretRef>,
    /// For how long a value of theirs is still used after a newer one is there.
    pub overlap: Duration,
    /// Notified of every new value of theirs.
    pub wake: Arc<Notify>,
    /// Who restarts the application; without one, a configuration that asks for a restart is refused.
    pub supervisor: Option<Supervisor>,
    /// Where workloads are rolled out; without one, a configuration that asks for a rollout is refused.
    pub cluster: Option<Cluster>,
    /// Who runs the programs of hooks; without one, this process does.
    pub runner: Option<Runner>,
}

impl Beside {
    /// Adds whoever restarts the application.
    #[must_use]
    pub fn with_supervisor(mut self, supervisor: Supervisor) -> Self {
        self.supervisor = Some(supervisor);
        self
    }

    /// Adds where workloads are rolled out.
    #[must_use]
    pub fn with_cluster(mut self, cluster: Option<Cluster>) -> Self {
        self.cluster = cluster;
        self
    }

    /// Adds whoever runs the programs of hooks.
    #[must_use]
    pub fn with_runner(mut self, runner: Option<Runner>) -> Self {
        self.runner = runner;
        self
    }

    /// Returns each secret that is to be kept, with its pace; a secret that a delivery has, too, is kept once.
    pub(super) fn paces(&self, deliveries: &[DeliveryConfig]) -> BTreeMap<SecretRef, Pace> {
        let mut paces = paces(deliveries);
        for reference in &self.references {
            let own = Pace { refresh: SecretConfig::DEFAULT_REFRESH, overlap: self.overlap };
            let pace = paces.entry(reference.whole()).or_insert(own);
            pace.overlap = pace.overlap.max(self.overlap);
        }
        paces
    }

    /// Returns each secret with its keeper, once, by the reference without its field.
    pub(super) fn inputs(&self, handles: &BTreeMap<SecretRef, KeeperHandle>) -> Inputs {
        let input = |reference: SecretRef| {
            let handle = handles.get(&reference)?.clone();
            Some((reference.to_string().into(), Input { config: SecretConfig::new(reference), handle }))
        };
        Arc::new(self.wholes().into_iter().filter_map(input).collect())
    }

    /// Returns the references without their fields.
    pub(super) fn wholes(&self) -> BTreeSet<SecretRef> {
        self.references.iter().map(SecretRef::whole).collect()
    }

    /// Returns `delivery` with its restarts in the hands of the supervisor, its rollouts in those of the cluster, and its programs in those of
    /// the runner.
    pub(super) fn equip(&self, delivery: &DeliveryConfig) -> Result<DeliveryConfig> {
        let mut delivery = delivery.clone();
        if let Some(runner) = &self.runner {
            runner.assign(&mut delivery)?;
        }
        for notifier in delivery.change.on_change.iter_mut().map(|told| &mut told.notifier) {
            let without = |error: Error| error.with("delivery", &delivery.name);
            match notifier {
                Notifier::Restart(restart) => {
                    let supervisor = self.supervisor.clone();
                    restart.supervisor = Some(supervisor.ok_or_else(|| without(unsupervised()))?);
                }
                Notifier::Rollout(rollout) => {
                    let cluster = self.cluster.clone();
                    rollout.cluster = Some(cluster.ok_or_else(|| without(no_cluster()))?);
                }
                Notifier::Signal(_) | Notifier::Exec(_) | Notifier::Http(_) => {}
            }
        }
        Ok(delivery)
    }
}

impl Engine {
    /// Returns what sees the values of a secret, of a delivery or beside them; none for one that is not kept.
    pub fn kept(&self, reference: &SecretRef) -> Option<KeeperHandle> {
        self.custody.kept(&reference.whole()).cloned()
    }
}
