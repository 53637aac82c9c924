//! The way to secrets from a Rust program: read one, or have one kept fresh.

mod builder;
mod providers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

pub use self::builder::ClientBuilder;
pub(crate) use self::providers::Providers;
use crate::audit;
use crate::clock::Clock;
use crate::config::{ProviderConfig, SecretConfig};
use crate::error::{Error, Result};
use crate::examine::Finding;
use crate::layer::{Retry, RetryPolicy};
use crate::meter::Meter;
use crate::provider::{Ending, Provider};
use crate::reference::SecretRef;
use crate::rotation::Fields;
use crate::schedule::Ticks;
use crate::secret::{Secret, SecretValue};
use crate::state::State;
use crate::watch::{Watched, Watches};

/// Reads secrets from its providers, and keeps those fresh that are watched. Cheap to clone: all clones share the providers, their sessions and what is
/// watched.
///
/// ```
/// # tokio_test(async {
/// use keywheel_core::{Client, memory::Memory};
///
/// let source = Memory::new();
/// source.set("orders/db", [("password", "hunter2")]);
/// let client = Client::builder().own_provider("memory", source).build()?;
/// let password = client.get("memory://orders/db#password").await?;
/// assert_eq!(password.expose_secret(), b"hunter2");
/// # Ok(())
/// # });
/// # fn tokio_test(test: impl Future<Output = keywheel_core::Result<()>>) {
/// #     tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test).unwrap();
/// # }
/// ```
///
/// When the last clone is dropped, everything that is watched ends: leases and logins are given back within [`CLOSE`](Self::CLOSE), by a task of the runtime that
/// it was watched in. [`close`](Self::close) waits for that, and is also what gives the login of a client back that only read.
#[derive(Clone)]
pub struct Client {
    providers: Arc<Providers>,
    ticks: Ticks,
    watches: Arc<Watches>,
}

impl Client {
    /// How long giving back what is watched may take, and after it ending the sessions.
    pub const CLOSE: Duration = Duration::from_secs(3);

    /// Begins a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Builds every provider; asks no server. What they log in for is kept in `state`.
    ///
    /// # Errors
    /// The first provider that cannot be built: a CA file that is missing, say.
    pub fn build(providers: &BTreeMap<String, ProviderConfig>, clock: &Clock, state: &State) -> Result<Self> {
        Self::build_at(providers, clock, state, SecretConfig::DEFAULT_REFRESH)
    }

    fn build_at(
        providers: &BTreeMap<String, ProviderConfig>,
        clock: &Clock,
        state: &State,
        refresh: Duration,
    ) -> Result<Self> {
        let providers = Arc::new(Providers::build(providers, clock, state)?);
        let watches = Arc::new(Watches::new(Arc::clone(&providers), clock.clone(), state.clone(), refresh));
        Ok(Self { providers, ticks: Ticks::new(clock.now(), fastrand::u64(..)), watches })
    }

    /// Returns the moments at which secrets of one group are asked for.
    pub(crate) fn ticks(&self) -> Ticks {
        self.ticks
    }

    /// Returns the provider that a reference names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config); the message names the known ones.
    pub fn provider(&self, reference: &SecretRef) -> Result<&Arc<dyn Provider>> {
        self.providers.of(reference)
    }

    /// Returns what counts the calls of each provider for those secrets that are kept, by the provider's name.
    pub(crate) fn meters(&self) -> BTreeMap<String, Arc<Meter>> {
        self.providers.meters()
    }

    pub(crate) fn meter(&self, reference: &SecretRef) -> Arc<Meter> {
        self.providers.meter(reference)
    }

    /// Checks, without asking anybody, that a reference can be read.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with what is wrong.
    pub fn validate(&self, reference: &SecretRef) -> Result<()> {
        let provider = self.provider(reference)?;
        provider.validate(reference).map_err(|error| named(error, reference))
    }

    /// Goes the way to a provider's source step by step, as far as it leads; see [`Provider::examine`].
    pub async fn examine(&self, provider: &str) -> Vec<Finding> {
        match self.providers.named(provider) {
            Some(provider) => provider.examine().await,
            None => Vec::new(),
        }
    }

    /// Reads a secret once, trying again for a few seconds while the failure is temporary.
    ///
    /// # Errors
    /// As for [`Provider::read`]; the message names provider and reference.
    pub async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.validate(reference)?;
        let provider = Retry::new(Arc::clone(self.provider(reference)?), RetryPolicy::default());
        let read = provider.read(reference).await;
        audit::read(reference, read.as_ref().map(Secret::version));
        read.map_err(|error| named(error, reference))
    }

    /// Has the source do what a write of `fields` to that path does; once, since it may have been done where no answer came.
    ///
    /// # Errors
    /// As for [`Provider::invoke`]; the message names provider and reference.
    pub async fn invoke(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        let invoked = self.provider(reference)?.invoke(reference, fields).await;
        invoked.map_err(|error| named(error, reference))
    }

    /// Reads the one value that a reference is about: its field's, or the secret's only one.
    ///
    /// # Errors
    /// A text that is no reference; as for [`read`](Self::read); and [`ErrorKind::MissingField`](crate::ErrorKind::MissingField) naming the fields that there
    /// are.
    pub async fn get(&self, reference: impl IntoReference) -> Result<SecretValue> {
        let reference = reference.into_reference()?;
        let secret = self.read(&reference).await?;
        secret.value(reference.field()).map_err(|error| named(error, &reference))
    }

    /// Has the secret kept fresh from now on, and returns its newest good value as a `T` (see [`typed`](crate::typed)), once there is one.
    ///
    /// All who watch one secret share it: its source is asked once for all of them, and it has one lease. Dropping the last [`Watched`] of a secret ends
    /// its renewals, and gives its lease back.
    ///
    /// # Errors
    /// A text that is no reference; a value that does not fit `T`; the first failure that does not mend itself; or, after [`Watched::PATIENCE`], the last
    /// one that was tried again until then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Safe to drop at any moment: a lease that was made is given back.
    pub async fn watch<T: DeserializeOwned>(&self, reference: impl IntoReference) -> Result<Watched<T>> {
        let reference = reference.into_reference()?;
        let tended = self.watches.tended(self, &reference)?;
        Watched::begin(tended, reference).await
    }

    /// Keeps the providers' sessions alive until it is dropped; only for those who watch nothing by this client.
    pub async fn maintain(&self) {
        self.providers.maintain().await;
    }

    /// Ends all that is watched, then all sessions, as `ending` says. Each takes at most `limit`; what fails is logged.
    pub async fn close(&self, ending: Ending, limit: Duration) {
        self.watches.end(ending, limit).await;
        self.providers.close(ending, limit).await;
    }

    /// Ends all sessions, at the end of the program: what was logged in for, and the leases made with it, are given back where the provider's
    /// `revoke_on_shutdown` says so, or `otherwise` where it says nothing. Takes at most `limit`; what fails is logged.
    pub(crate) async fn shut_down(&self, otherwise: bool, limit: Duration) {
        self.providers.shut_down(otherwise, limit).await;
    }

    /// Returns what becomes of the leases of a reference's provider at the end of the program.
    pub(crate) fn ending(&self, reference: &SecretRef, otherwise: bool) -> Ending {
        self.providers.ending(reference, otherwise)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.providers.fmt(f)
    }
}

/// What names a secret: a [`SecretRef`], or its text.
pub trait IntoReference {
    /// Returns the reference.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a text that is none.
    fn into_reference(self) -> Result<SecretRef>;
}

impl IntoReference for SecretRef {
    fn into_reference(self) -> Result<SecretRef> {
        Ok(self)
    }
}

impl IntoReference for &SecretRef {
    fn into_reference(self) -> Result<SecretRef> {
        Ok(self.clone())
    }
}

impl IntoReference for &str {
    fn into_reference(self) -> Result<SecretRef> {
        self.parse().map_err(|error| Error::config("read reference", format!("{error}")))
    }
}

impl IntoReference for &String {
    fn into_reference(self) -> Result<SecretRef> {
        self.as_str().into_reference()
    }
}

/// Adds to an error whom was asked for what.
pub(crate) fn named(error: Error, reference: &SecretRef) -> Error {
    error.with("provider", reference.provider()).with("reference", reference)
}
