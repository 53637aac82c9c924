//! Reads secrets behind wrapping tokens: each token once.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use keywheel_core::fingerprint::digest;
use keywheel_core::identity::TokenSource;
use keywheel_core::{Error, ErrorKind, Result, Secret, Upkeep, Value, Version};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::transport::{Answer, Transport};
use super::wrapping;

/// The tokens that were used or could not be trusted, by their digests: none is tried again.
#[derive(Debug, Default)]
pub(super) struct Wrapped(Mutex<HashMap<String, Error>>);

impl Wrapped {
    /// Unwraps the secret that a request to `path` put behind the token in `file`. Its version is the digest of the token.
    ///
    /// # Errors
    /// [`ErrorKind::Intercepted`] when the token cannot be trusted, this time or before; or what keeps it from being tried.
    pub(super) async fn read(&self, transport: &Transport, path: &str, file: &str) -> Result<Secret> {
        let token = token(file).await?;
        let version = digest(token.expose_secret());
        // Held over the request: two who come at once would use the token up for one another.
        let mut spent = self.0.lock().await;
        if let Some(error) = spent.get(&version) {
            return Err(error.clone());
        }
        let unwrapped = match wrapping::unwrap(transport, &token, path).await {
            Ok(answer) => secret(&answer, &version),
            Err(error) if error.kind() == ErrorKind::Intercepted => Err(error),
            Err(error) => return Err(error),
        };
        // Whatever came out of it, the token is used up.
        let again = match &unwrapped {
            Ok(_) => Error::new(ErrorKind::Intercepted, "unwrap", "the wrapping token was used here before")
                .with("path", path)
                .with_help("provide a new one; a `state_directory` keeps the value over a restart"),
            Err(error) => error.clone(),
        };
        spent.insert(version, again);
        unwrapped
    }

    /// Unwraps the secret if the token is another one than that of version `known`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(super) async fn read_if_other(
        &self,
        transport: &Transport,
        path: &str,
        file: &str,
        known: &Version,
    ) -> Result<Option<Secret>> {
        // Whoever put it there may take it away once it was used.
        let Ok(token) = token(file).await else { return Ok(None) };
        if digest(token.expose_secret()) == known.as_str() {
            return Ok(None);
        }
        self.read(transport, path, file).await.map(Some)
    }
}

async fn token(file: &str) -> Result<keywheel_core::SecretValue> {
    TokenSource::File(Path::new(file).to_owned()).token().await
}

fn secret(answer: &Answer, version: &str) -> Result<Secret> {
    let fields = match answer.parse::<Versioned>() {
        Ok(versioned) => versioned.data.data,
        Err(_) => answer.parse::<Plain>()?.data,
    };
    let mut secret = Secret::try_new(fields, Version::new(version))?;
    secret.upkeep = Upkeep::Once;
    Ok(secret)
}

/// The answer of KV version 2, which puts the fields beside their metadata.
#[derive(Deserialize)]
struct Versioned {
    data: VersionedData,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionedData {
    data: BTreeMap<String, Value>,
    #[serde(rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
struct Plain {
    data: BTreeMap<String, Value>,
}
