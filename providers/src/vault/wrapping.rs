//! Response wrapping: a value behind a token for one use.
//!
//! Whoever unwraps a token knows that nobody has seen the value before, or learns that somebody may have. So a token that cannot be unwrapped, or
//! that was made for something else, is an alarm: it is logged as an error and never tried again.

use std::sync::{Mutex, PoisonError};

use keywheel_core::fingerprint::digest;
use keywheel_core::identity::TokenSource;
use keywheel_core::{Error, ErrorKind, Result, SecretValue};
use serde::Deserialize;
use tracing::error;
use vaultrs::api::sys::requests::{UnwrapRequest, WrappingLookupRequest};
use zeroize::Zeroize;

use super::error;
use super::transport::{Answer, Transport};

/// Unwraps `token`, which must have been made by a request to `path`.
///
/// # Errors
/// [`ErrorKind::Intercepted`] when the token is spent, unknown or made by another request. Any other error came before it was used, and the
/// same token can be tried again.
pub(super) async fn unwrap(transport: &Transport, token: &SecretValue, path: &str) -> Result<Answer> {
    check(transport, token, path).await?;
    let call = transport.call("unwrap", &UnwrapRequest { token: None })?;
    let answer = transport.send(&call, Some(token)).await;
    match answer {
        Ok(answer) if answer.is_success() => Ok(answer),
        // The server says that it did nothing. If it did all the same, the next look at the token tells.
        Ok(answer) if UNDONE.contains(&answer.status) => Err(error::refused(&answer)),
        Ok(answer) if answer.status < 500 => {
            Err(alarm(path, "it was used up by somebody else in this moment").with("status", answer.status))
        }
        Ok(_) | Err(_) => Err(alarm(path, "it was sent and no answer came, so that it may be used up")),
    }
}

/// The longest path that an error names.
const MAX_PATH: usize = 256;
/// What a server answers that does not serve the request: its quota is used up, it is a standby, or it is sealed.
const UNDONE: [u16; 4] = [429, 472, 473, 503];

/// Checks that the token is whole, and that it was made by a request to `path`, without using it up.
async fn check(transport: &Transport, token: &SecretValue, path: &str) -> Result<()> {
    let Some(text) = token.expose_text() else {
        return Err(Error::config("unwrap", "the wrapping token is not text"));
    };
    let mut request = WrappingLookupRequest { token: text.to_owned() };
    let call = transport.call("unwrap", &request);
    request.token.zeroize();
    let answer = transport.send(&call?, None).await?;
    match answer.status {
        200 => {}
        400 | 403 | 404 => return Err(alarm(path, "it is used up, has ended, or is no wrapping token")),
        _ => return Err(error::refused(&answer)),
    }
    let made_by = answer.parse::<LookUpAnswer>()?.data.creation_path;
    match is_request_to(&made_by, path) {
        true => Ok(()),
        false => {
            let error = alarm(path, "it was made by a request to another path");
            // The server's words: shown where they are a path, and nothing else.
            let is_path = made_by.len() <= MAX_PATH && made_by.bytes().all(|byte| byte.is_ascii_graphic());
            Err(if is_path { error.with("made_by", made_by) } else { error })
        }
    }
}

/// Tells whether a request to `made_by` is one for `path`, which may be written as the command line takes it, without KV version 2's `data`.
fn is_request_to(made_by: &str, path: &str) -> bool {
    let made_by = made_by.trim_matches('/');
    let data = made_by.match_indices("/data/").any(|(at, found)| {
        let (mount, rest) = (&made_by[..at], &made_by[at + found.len()..]);
        path.strip_prefix(mount).and_then(|below| below.strip_prefix('/')) == Some(rest)
    });
    made_by == path || data
}

fn alarm(path: &str, why: &str) -> Error {
    error!(path, "ALARM: a wrapping token cannot be trusted: {why}; somebody else may know what it held");
    Error::new(ErrorKind::Intercepted, "unwrap", format!("the wrapping token cannot be trusted: {why}"))
        .with("path", path)
        .with_help("find out who had it; replace what it held, and provide a new wrapping token")
}

/// A secret id behind a wrapping token. It is unwrapped once; each login uses what came out.
#[derive(Debug)]
pub(super) struct WrappedSecretId {
    source: TokenSource,
    creation_path: String,
    known: Mutex<Option<Unwrapped>>,
}

/// What came out of a wrapping token.
#[derive(Debug)]
pub(super) struct Unwrapped {
    /// The digest of the token that it was wrapped in.
    pub(super) wrapped_in: String,
    /// The value; none where the token could not be trusted.
    pub(super) value: Option<SecretValue>,
}

impl WrappedSecretId {
    /// Returns where the wrapping token comes from.
    pub(super) fn source(&self) -> &TokenSource {
        &self.source
    }

    pub(super) fn new(source: TokenSource, creation_path: &str) -> Self {
        let creation_path = creation_path.trim_matches('/').to_owned();
        Self { source, creation_path, known: Mutex::default() }
    }

    /// Returns the secret id; unwraps it where the token is another one than before.
    ///
    /// # Errors
    /// A token that cannot be read or trusted.
    pub(super) async fn secret_id(&self, transport: &Transport) -> Result<SecretValue> {
        let token = self.source.token().await?;
        let wrapped_in = digest(token.expose_secret());
        if let Some(known) = self.unwrapped().filter(|known| known.wrapped_in == wrapped_in) {
            return known.value.ok_or_else(|| {
                let reason = "the wrapping token was of no use before, and is still the same";
                Error::new(ErrorKind::Intercepted, "unwrap", reason).with("path", &self.creation_path)
            });
        }
        let value = match unwrap(transport, &token, &self.creation_path).await {
            Ok(answer) => answer.parse::<SecretIdAnswer>().map(|answer| answer.data.into_value()),
            Err(error) if error.kind() == ErrorKind::Intercepted => Err(error),
            Err(error) => return Err(error),
        };
        // Whatever came out of it, the token is used up.
        self.resume(Unwrapped { wrapped_in, value: value.as_ref().ok().map(copy) });
        value
    }

    pub(super) fn unwrapped(&self) -> Option<Unwrapped> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        Some(Unwrapped { wrapped_in: known.wrapped_in.clone(), value: known.value.as_ref().map(copy) })
    }

    pub(super) fn resume(&self, unwrapped: Unwrapped) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(unwrapped);
    }
}

fn copy(value: &SecretValue) -> SecretValue {
    SecretValue::copy_of(value.expose_secret())
}

#[derive(Deserialize)]
struct LookUpAnswer {
    data: LookUp,
}

#[derive(Deserialize)]
struct LookUp {
    creation_path: String,
}

#[derive(Deserialize)]
struct SecretIdAnswer {
    data: SecretIdData,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: String,
}

impl SecretIdData {
    fn into_value(mut self) -> SecretValue {
        std::mem::take(&mut self.secret_id).into()
    }
}

impl Drop for SecretIdData {
    fn drop(&mut self) {
        self.secret_id.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_request_for_the_path_itself_is_one_for_it() {
        for (made_by, path, is) in [
            ("secret/data/orders/db", "secret/orders/db", true),
            ("secret/data/orders/db", "secret/data/orders/db", true),
            ("team/kv/data/a/data/b", "team/kv/a/data/b", true),
            ("database/creds/orders", "database/creds/orders", true),
            ("sys/wrapping/wrap", "secret/orders/db", false),
            ("secret/data/orders/db2", "secret/orders/db", false),
            ("other/data/orders/db", "secret/orders/db", false),
            ("secret/orders/db/data/", "secret/orders/db", false),
        ] {
            assert_eq!(is_request_to(made_by, path), is, "{made_by} for {path}");
        }
    }
}
