//! The providers of a configuration, built, and reads from them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::warn;

use crate::clock::Clock;
use crate::config::ProviderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Budget, Retry, RetryPolicy};
use crate::provider::{Ending, Provider};
use crate::reference::SecretRef;
use crate::registry::Context;
use crate::schedule::Ticks;
use crate::secret::{Secret, SecretValue};
use crate::state::State;

/// Reads secrets from configured providers. Cheap to clone: all clones share the providers and their sessions.
#[derive(Clone)]
pub struct Client {
    providers: Arc<BTreeMap<String, Built>>,
    ticks: Ticks,
}

struct Built {
    provider: Arc<dyn Provider>,
    revoke_on_shutdown: Option<bool>,
}

impl Client {
    /// Builds every provider; asks no server. What they log in for is kept in `state`.
    ///
    /// # Errors
    /// The first provider that cannot be built: a CA file that is missing, say.
    pub fn build(providers: &BTreeMap<String, ProviderConfig>, clock: &Clock, state: &State) -> Result<Self> {
        let build = |(name, config): (&String, &ProviderConfig)| {
            let context = Context {
                name: name.clone(),
                clock: clock.clone(),
                budget: Arc::new(Budget::new(config.budget, clock.clone())),
                timeout: config.timeout,
                slot: state.slot("session", name),
            };
            let provider = config.blueprint.build(context).map_err(|error| error.with("provider", name))?;
            Ok((name.clone(), Built { provider, revoke_on_shutdown: config.revoke_on_shutdown }))
        };
        let providers = providers.iter().map(build).collect::<Result<_>>()?;
        Ok(Self { providers: Arc::new(providers), ticks: Ticks::new(clock.now(), fastrand::u64(..)) })
    }

    /// Returns the moments at which secrets of one group are asked for.
    pub(crate) fn ticks(&self) -> Ticks {
        self.ticks
    }

    /// Returns the provider that a reference names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]; the message names the known ones.
    pub fn provider(&self, reference: &SecretRef) -> Result<&Arc<dyn Provider>> {
        self.providers.get(reference.provider()).map(|built| &built.provider).ok_or_else(|| {
            let known: Vec<&str> = self.providers.keys().map(String::as_str).collect();
            let reason =
                format!("there is no provider {:?}; known: {}", reference.provider(), known.join(", "));
            // Of the reference no more is said: it may be somebody's URL with a password in it.
            Error::new(ErrorKind::Config, "find provider", reason)
        })
    }

    /// Checks, without asking anybody, that a reference can be read.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what is wrong.
    pub fn validate(&self, reference: &SecretRef) -> Result<()> {
        let provider = self.provider(reference)?;
        provider.validate(reference).map_err(|error| named(error, reference))
    }

    /// Reads a secret once, trying again for a few seconds while the failure is temporary.
    ///
    /// # Errors
    /// As for [`Provider::read`]; the message names provider and reference.
    pub async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.validate(reference)?;
        let provider = Retry::new(Arc::clone(self.provider(reference)?), RetryPolicy::default());
        provider.read(reference).await.map_err(|error| named(error, reference))
    }

    /// Reads the one value that a reference is about: its field's, or the secret's only one.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and [`ErrorKind::MissingField`] naming the fields that there are.
    pub async fn get(&self, reference: &SecretRef) -> Result<SecretValue> {
        let secret = self.read(reference).await?;
        secret.value(reference.field()).map_err(|error| named(error, reference))
    }

    /// Keeps the providers' sessions alive until it is dropped.
    pub async fn maintain(&self) {
        join_all(self.providers.values().map(|built| built.provider.maintain())).await;
    }

    /// Ends all sessions as `ending` says. Takes at most `limit`; what fails is logged.
    pub async fn close(&self, ending: Ending, limit: Duration) {
        join_all(self.providers.iter().map(|(name, built)| built.close(name, ending, limit))).await;
    }

    /// Ends all sessions, at the end of the program: what was logged in for, and the leases made with it, are given back where the provider's
    /// `revoke_on_shutdown` says so, or `otherwise` where it says nothing. Takes at most `limit`; what fails is logged.
    pub(crate) async fn shut_down(&self, otherwise: bool, limit: Duration) {
        let closing =
            self.providers.iter().map(|(name, built)| built.close(name, built.ending(otherwise), limit));
        join_all(closing).await;
    }

    /// Returns what becomes of the leases of a reference's provider at the end of the program.
    pub(crate) fn ending(&self, reference: &SecretRef, otherwise: bool) -> Ending {
        self.providers.get(reference.provider()).map_or(Ending::Keep, |built| built.ending(otherwise))
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

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.providers.keys()).finish()
    }
}

/// Adds to an error whom was asked for what.
pub(crate) fn named(error: Error, reference: &SecretRef) -> Error {
    error.with("provider", reference.provider()).with("reference", reference)
}
