//! Who the program is to a provider: tokens that somebody else keeps fresh in a file, or issues at each login.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroize;

use crate::error::{Error, ErrorKind, Result};
use crate::needs::Needs;
use crate::secret::SecretValue;

/// A token that a login presents.
#[derive(Debug)]
pub enum TokenSource {
    /// A file that is read again at every login: the kubelet replaces a projected service-account token at 80 % of its life.
    File(PathBuf),
    /// A value that was given once.
    Value(SecretValue),
    /// One that is asked for at every login.
    Issued(Arc<dyn TokenIssuer>),
}

/// Who issues tokens: each for one login, and for a short time.
#[async_trait]
pub trait TokenIssuer: fmt::Debug + Send + Sync {
    /// Has a new token issued.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when it refuses; what says that it is away when it is. Never with a body of the issuer's.
    async fn issue(&self) -> Result<SecretValue>;

    /// Returns what that needs of the system.
    fn needs(&self) -> Needs;

    /// Names the account that the tokens are of.
    fn account(&self) -> String;
}

impl TokenSource {
    /// The largest token file, in bytes.
    pub const MAX_BYTES: u64 = 64 * 1024;

    /// Returns the file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Value(_) | Self::Issued(_) => None,
        }
    }

    /// Returns what having a token takes.
    pub fn needs(&self) -> Needs {
        match self {
            Self::File(path) => Needs::default().with_files([path]),
            Self::Value(_) => Needs::default(),
            Self::Issued(issuer) => issuer.needs(),
        }
    }

    /// Returns the token as it is at this moment, without white space around it.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when the file cannot be read, is empty, too large, or holds anything that an HTTP header cannot. It is temporary:
    /// the file may be written a moment later. What the issuer says, when none is issued.
    pub async fn token(&self) -> Result<SecretValue> {
        match self {
            Self::Value(value) => checked(value.expose_secret(), Path::new("(given)")),
            Self::Issued(issuer) => checked(issuer.issue().await?.expose_secret(), Path::new("(issued)")),
            Self::File(path) => {
                let path = path.clone();
                let read = move || read(&path);
                match tokio::task::spawn_blocking(read).await {
                    Ok(result) => result,
                    Err(_) => Err(failed("reading was interrupted")),
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<SecretValue> {
    let at = |error: Error| error.with("file", path.display());
    let metadata = std::fs::metadata(path)
        .map_err(|error| at(failed(format!("cannot read the token file: {error}"))))?;
    if !metadata.is_file() {
        return Err(at(failed("the token file is not a regular file")));
    }
    if metadata.len() > TokenSource::MAX_BYTES {
        return Err(at(failed("the token file is larger than 64 KiB")));
    }
    let mut bytes =
        std::fs::read(path).map_err(|error| at(failed(format!("cannot read the token file: {error}"))))?;
    let token = checked(&bytes, path);
    bytes.zeroize();
    token
}

fn checked(bytes: &[u8], path: &Path) -> Result<SecretValue> {
    let at = |error: Error| error.with("file", path.display());
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err(at(failed("the token is empty")));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(at(failed("the token has characters that no token has; is it the right file?")));
    }
    Ok(SecretValue::copy_of(token))
}

fn failed(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unauthenticated, "read token", reason).with_temporary(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "the test plays the kubelet")]
    async fn a_file_is_read_again_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(source.token().await.unwrap_err().to_string().contains("cannot read the token file"));
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(source.token().await.unwrap().expose_secret(), b"one");
        std::fs::write(&path, " two ").unwrap();
        assert_eq!(source.token().await.unwrap().expose_secret(), b"two");
        let not_a_file = TokenSource::File(folder.path().into()).token().await.unwrap_err();
        assert!(not_a_file.to_string().contains("not a regular file"), "{not_a_file}");
        for bad in ["", "\n", "two words", "a\x1bb"] {
            std::fs::write(&path, bad).unwrap();
            let error = source.token().await.unwrap_err();
            assert!(!error.to_string().contains("words"), "{error}");
        }
    }
}
