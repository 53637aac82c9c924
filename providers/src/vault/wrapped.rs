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

/// The tokens that could not be trusted, by their digests: none is tried again.
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
        let unwrapped =
            wrapping::unwrap(transport, &token, path).await.and_then(|answer| secret(&answer, &version));
        match &unwrapped {
            Err(error) if error.kind() != ErrorKind::Intercepted => {}
            Err(error) => drop(spent.insert(version, error.clone())),
            Ok(_) => {
                let reason = "the wrapping token was used here before";
                let error = Error::new(ErrorKind::Intercepted, "unwrap", reason)
                    .with("path", path)
                    .with_help("provide a new one; a `state_directory` keeps the value over a restart");
                spent.insert(version, error);
            }
        }
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
