//! A provider in one file: the credentials that systemd hands to a service (`LoadCredential=` in its unit), as `systemd://NAME`.
//!
//! ```sh
//! systemd-run --pipe -p SetCredential=greeting:hello own_provider systemd://greeting
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to its terminal")]

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::PathBuf;

use async_trait::async_trait;
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::provider::only_parameters;
use keywheel_core::{Client, Error, ErrorKind, Provider, Result, Secret, SecretRef, SecretValue, Value};

/// Reads the files of a directory that systemd made for this service: each is a secret with the field `value`.
#[derive(Debug)]
pub struct Systemd {
    directory: PathBuf,
    fingerprint: Fingerprint,
}

impl Systemd {
    /// Reads from `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// There is none: systemd has not started this, or was asked for no credential.
    pub fn of_service() -> Result<Self> {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
            let error = Error::config("configure systemd", "the variable CREDENTIALS_DIRECTORY is not set");
            error.with_help("start it from a unit with LoadCredential= or SetCredential=")
        })?;
        Ok(Self::new(directory))
    }

    /// Reads from `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), fingerprint: Fingerprint::default() }
    }
}

#[async_trait]
impl Provider for Systemd {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        only_parameters(reference, &[])?;
        // `.` and `..` are in no reference.
        if reference.path().contains('/') {
            let error = Error::config("check reference", "a credential has a name without `/`");
            return Err(error.with("reference", reference));
        }
        Ok(())
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.validate(reference)?;
        let file = self.directory.join(reference.path());
        let read = tokio::task::spawn_blocking(move || read(file)).await;
        let bytes = read.map_err(io::Error::other).and_then(|read| read).map_err(failed);
        let secret = bytes.and_then(|bytes| {
            let fields = BTreeMap::from([("value".to_owned(), Value::Bytes(SecretValue::from(bytes)))]);
            let version = self.fingerprint.version(&fields);
            Secret::try_new(fields, version)
        });
        secret.map_err(|error| error.with("provider", "systemd").with("reference", reference.whole()))
    }
}

/// Reads a file into one buffer of its size, which becomes the value: no copy stays behind. What is too large to be a secret is not read to its end.
fn read(path: PathBuf) -> io::Result<Vec<u8>> {
    let most = Secret::MAX_BYTES as u64 + 1;
    let file = std::fs::File::open(path)?;
    let size = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Says what failed, and whether it may work later; never what is in the file.
fn failed(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "read", error.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let reference = std::env::args().nth(1).ok_or("usage: own_provider systemd://NAME")?;
    // The one line: everything that a client does, it does with this provider, too.
    let client = Client::builder().own_provider("systemd", Systemd::of_service()?).build()?;
    let value = client.get(&reference).await?;
    println!("{reference} has {} bytes", value.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use keywheel_core::conformance::{self, Fields, Fixture, Holds};
    use tempfile::TempDir;

    use super::*;

    /// What systemd does before it starts a service.
    #[derive(Debug)]
    struct Unit(TempDir);

    #[async_trait]
    impl Fixture for Unit {
        fn holds(&self) -> Holds {
            Holds { names: false, structures: false, binary: true, ..Holds::default() }
        }

        fn reference(&self, name: &str) -> SecretRef {
            format!("systemd://{name}").parse().unwrap()
        }

        async fn put(&self, name: &str, fields: Fields) {
            let value = fields["value"].to_bytes().unwrap();
            let mut file = tempfile::NamedTempFile::new_in(&self.0).unwrap();
            io::Write::write_all(&mut file, value.expose_secret()).unwrap();
            file.persist(self.0.path().join(name)).unwrap();
        }

        async fn delete(&self, name: &str) {
            std::fs::remove_file(self.0.path().join(name)).unwrap();
        }
    }

    #[tokio::test]
    async fn conforms() {
        let unit = Unit(TempDir::new().unwrap());
        conformance::run_all(&Systemd::new(unit.0.path()), &unit).await;
    }

    #[tokio::test]
    async fn stays_in_its_directory() {
        let systemd = Systemd::new("/");
        for bad in ["systemd:///etc/hostname", "systemd://etc/hostname", "systemd://hostname?field=x"] {
            let refused = systemd.read(&bad.parse().unwrap()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config, "{bad}");
        }
        assert!("systemd://..".parse::<SecretRef>().is_err());
    }
}
