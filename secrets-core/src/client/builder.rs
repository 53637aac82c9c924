//! A client from settings in Rust.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Client;
use crate::clock::Clock;
use crate::config::{ProviderConfig, SecretConfig};
use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::reference::is_provider_name;
use crate::registry::{Blueprint, Context};
use crate::state::State;

/// Gathers what a [`Client`] is made of.
#[derive(Debug)]
#[must_use = "a client is there after `build`"]
pub struct ClientBuilder {
    providers: BTreeMap<String, ProviderConfig>,
    clock: Clock,
    state: State,
    refresh: Duration,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            providers: BTreeMap::new(),
            clock: Clock::system(),
            state: State::in_memory(),
            refresh: SecretConfig::DEFAULT_REFRESH,
        }
    }
}

impl ClientBuilder {
    /// Adds a provider under the name that references use; one that was there under it is replaced.
    pub fn provider(mut self, name: impl Into<String>, config: ProviderConfig) -> Self {
        self.providers.insert(name.into(), config);
        self
    }

    /// Adds a provider of the caller's own. Its reads are neither limited nor retried, unless it is wrapped in the [layers](crate::layer).
    pub fn own_provider(self, name: impl Into<String>, provider: impl Provider + 'static) -> Self {
        self.provider(name, ProviderConfig::new(Box::new(Given(Arc::new(provider)))))
    }

    /// Takes the time from `clock`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps logins and leases in `state`, so that the next process goes on with them. They are in memory otherwise.
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Asks for what is watched this often (jittered); a lease sets its own pace. 30 seconds if left out.
    pub fn refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }

    /// Builds the providers; asks no server.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a name that no reference can have or an interval of nothing; or the first provider that cannot be
    /// built.
    pub fn build(self) -> Result<Client> {
        if let Some(name) = self.providers.keys().find(|name| !is_provider_name(name)) {
            let reason = format!(
                "{name:?} is no provider's name: lower-case letters, digits, `-` and `_`, a letter first"
            );
            return Err(Error::config("build client", reason));
        }
        if self.refresh.is_zero() {
            return Err(Error::config("build client", "the interval of refreshes is nothing"));
        }
        Client::build_at(&self.providers, &self.clock, &self.state, self.refresh)
    }
}

/// A provider that needs no building.
#[derive(Debug)]
struct Given(Arc<dyn Provider>);

impl Blueprint for Given {
    fn build(&self, _: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::clone(&self.0))
    }
}
