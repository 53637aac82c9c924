//! Credentials of AWS that follow their secret.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, error::CredentialsError, future};
use jiff::Timestamp;
use keywheel_core::client::IntoReference;
use keywheel_core::clock::{Clock, later};
use keywheel_core::{Client, ExposeSecret as _, Result, SecretString, Watched};
use serde::Deserialize;

/// The newest good credentials of a secret, for the clients of the AWS SDK.
///
/// The secret has the fields that Vault's AWS engine gives (`access_key`, `secret_key`, and `security_token` or `session_token` where there is one). The SDK keeps
/// what it was given for [`KEPT`](Self::KEPT), and then asks again, which asks no source; so long after a change, the lease of the credentials before is given
/// back, when the SDK asks the next time.
///
/// ```no_run
/// # async fn example(client: keywheel_core::Client) -> keywheel_core::Result<()> {
/// use keywheel_providers::adapters::aws::WatchedCredentials;
///
/// let credentials = WatchedCredentials::watch(&client, "vault://aws/creds/orders").await?;
/// // aws_config::defaults(BehaviorVersion::latest()).credentials_provider(credentials).load().await
/// # Ok(())
/// # }
/// ```
pub struct WatchedCredentials {
    given: Mutex<Given>,
    clock: Clock,
}

struct Given {
    watched: Watched<Issued>,
    revision: u64,
    /// Since when nobody has been given older ones.
    since: Timestamp,
}

#[derive(Deserialize)]
struct Issued {
    access_key: String,
    secret_key: SecretString,
    security_token: Option<SecretString>,
    session_token: Option<SecretString>,
}

impl WatchedCredentials {
    /// How long the SDK may go on with what it was given.
    pub const KEPT: Duration = Duration::from_secs(30);

    /// Has the credentials kept fresh from now on.
    ///
    /// # Errors
    /// As for [`Client::watch`].
    pub async fn watch(client: &Client, reference: impl IntoReference) -> Result<Self> {
        Self::watch_at(client, reference, Clock::system()).await
    }

    async fn watch_at(client: &Client, reference: impl IntoReference, clock: Clock) -> Result<Self> {
        let watched: Watched<Issued> = client.watch(reference).await?;
        let revision = watched.current().revision();
        Ok(Self { given: Mutex::new(Given { watched, revision, since: clock.now() }), clock })
    }

    fn give(&self) -> provider::Result {
        let now = self.clock.now();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let issued = given.watched.current();
        if issued.revision() != given.revision {
            (given.revision, given.since) = (issued.revision(), now);
        } else if now >= later(given.since, Self::KEPT) {
            given.watched.confirm();
        }
        let token = issued.security_token.as_ref().or(issued.session_token.as_ref());
        let ends = SystemTime::try_from(later(now, Self::KEPT)).map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            &issued.access_key,
            issued.secret_key.expose_secret(),
            token.map(|token| token.expose_secret().to_owned()),
            Some(ends),
            "keywheel",
        ))
    }
}

impl ProvideCredentials for WatchedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.give())
    }
}

impl fmt::Debug for WatchedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("WatchedCredentials").field(&given.watched).finish()
    }
}

#[cfg(test)]
mod tests;
