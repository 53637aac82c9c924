//! Providers by name, with their sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::warn;

use crate::clock::Clock;
use crate::config::ProviderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::Budget;
use crate::meter::Meter;
use crate::provider::{Ending, Provider};
use crate::reference::SecretRef;
use crate::registry::Context;
use crate::state::State;

/// Every provider of a client.
pub(crate) struct Providers(BTreeMap<String, Built>);

struct Built {
    provider: Arc<dyn Provider>,
    meter: Arc<Meter>,
    revoke_on_shutdown: Option<bool>,
}

impl Providers {
    /// Builds every provider; asks no server.
    ///
    /// # Errors
    /// The first one that cannot be built.
    pub(super) fn build(
        configs: &BTreeMap<String, ProviderConfig>,
        clock: &Clock,
        state: &State,
    ) -> Result<Self> {
        let build = |(name, config): (&String, &ProviderConfig)| {
            let context = Context {
                name: name.clone(),
                clock: clock.clone(),
                budget: Arc::new(Budget::new(config.budget, clock.clone())),
                timeout: config.timeout,
                slot: state.slot("session", name),
            };
            let provider = config.blueprint.build(context).map_err(|error| error.with("provider", name))?;
            Ok((
                name.clone(),
                Built { provider, meter: Arc::default(), revoke_on_shutdown: config.revoke_on_shutdown },
            ))
        };
        Ok(Self(configs.iter().map(build).collect::<Result<_>>()?))
    }

    /// Returns the provider that a reference names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]; the message names the known ones.
    pub(super) fn of(&self, reference: &SecretRef) -> Result<&Arc<dyn Provider>> {
        self.named(reference.provider()).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let reason =
                format!("there is no provider {:?}; known: {}", reference.provider(), known.join(", "));
            // Of the reference no more is said: it may be somebody's URL with a password in it.
            Error::new(ErrorKind::Config, "find provider", reason)
        })
    }

    /// Returns the provider of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.0.get(name).map(|built| &built.provider)
    }

    /// Returns what counts the calls of each provider, by its name.
    pub(super) fn meters(&self) -> BTreeMap<String, Arc<Meter>> {
        self.0.iter().map(|(name, built)| (name.clone(), Arc::clone(&built.meter))).collect()
    }

    /// Returns what counts the calls of a reference's provider.
    pub(super) fn meter(&self, reference: &SecretRef) -> Arc<Meter> {
        self.0.get(reference.provider()).map(|built| Arc::clone(&built.meter)).unwrap_or_default()
    }

    /// Keeps all sessions alive until it is dropped.
    pub(crate) async fn maintain(&self) {
        join_all(self.0.values().map(|built| built.provider.maintain())).await;
    }

    /// Ends all sessions as `ending` says. Takes at most `limit`; what fails is logged.
    pub(crate) async fn close(&self, ending: Ending, limit: Duration) {
        join_all(self.0.iter().map(|(name, built)| built.close(name, ending, limit))).await;
    }

    /// Ends each session as its settings say, or `otherwise` where they say nothing.
    pub(super) async fn shut_down(&self, otherwise: bool, limit: Duration) {
        join_all(self.0.iter().map(|(name, built)| built.close(name, built.ending(otherwise), limit))).await;
    }

    /// Returns what becomes of the leases of a reference's provider at the end of the program.
    pub(super) fn ending(&self, reference: &SecretRef, otherwise: bool) -> Ending {
        self.0.get(reference.provider()).map_or(Ending::Keep, |built| built.ending(otherwise))
    }
}

impl Built {
    fn ending(&self, otherwise: bool) -> Ending {
        if self.revoke_on_shutdown.unwrap_or(otherwise) { Ending::Revoke } else { Ending::Keep }
    }

    async fn close(&self, name: &str, ending: Ending, limit: Duration) {
        match tokio::time::timeout(limit, self.provider.close(ending)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(provider = name, %error, "the session was not ended; it ends with its own time")
            }
            Err(_) => warn!(provider = name, "the session was not ended in time; it ends with its own time"),
        }
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
