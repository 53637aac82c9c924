//! Files and folders, read as secrets and watched for changes.
//!
//! | Reference | Fields |
//! |---|---|
//! | `….json`, `….yaml`, `….yml`, `….toml` | the top level's names; `value` when it is not a mapping |
//! | `….env`, `.env` | the variables, without any substitution |
//! | any other file | `value`: its bytes as they are |
//! | a folder | one per regular file in it, as Kubernetes mounts a Secret |
//! | `….age` | decrypted with the `identity_file` first, then as its name goes on to the left |
//!
//! # Half-written files
//! A writer should write another file and rename it over the old one. For one that writes in place instead, a read in the middle of it
//! shows as a file that is empty, does not parse, or changes while it is read. All of these are [`ErrorKind::Invalid`] and *temporary*: it
//! is tried again soon, and what was delivered stays until then. An empty file is never a secret, for the same reason; in a folder it is an
//! empty value. A half-written file of the plain kind cannot be told from a whole one.
//!
//! # Links
//! A reference below `root` leads nowhere else: a link that leaves the root is refused, in any component of the path, while links that
//! stay inside (`orders.json -> ..data/orders.json`, as the kubelet makes them) are followed. An absolute reference is the operator's own
//! choice, and its links are followed anywhere.
//!
//! # Rotations
//! A rotated value is published in a `….json` or `….json.age` file, which is replaced by another one with its owner and mode; so its folder has
//! to be writable, and the file must be no link. The record is `.NAME.keywheel-rotation` beside it, for nobody else to read (0600) and encrypted
//! as the file is. An encrypted file is encrypted to the `identity_file`'s own recipients, and to `recipients`.

mod decrypt;
mod dotenv;
mod encrypt;
mod folder;
mod format;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod place;
mod read;
mod route;
#[cfg(feature = "schema")]
mod schema;
mod store;
mod watch;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::x25519::Recipient;
use async_trait::async_trait;
use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::error::{Error, ErrorKind, Result};
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::needs::Needs;
use keywheel_core::provider::{Provider, only_parameters};
use keywheel_core::reference::SecretRef;
use keywheel_core::registry::{Blueprint, Context, Kind};
use keywheel_core::rotation::Store;
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::secret::Secret;
use tokio::sync::{Semaphore, watch as channel};

use self::place::Place;
use self::watch::Watches;

/// The kind `file`.
///
/// Settings: `root`, the absolute path that relative references are below; `identity_file`, age identities to decrypt `….age` files with; and
/// `recipients`, whom else they are encrypted to when a rotation replaces them. All may be left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileKind;

impl Kind for FileKind {
    fn name(&self) -> &'static str {
        "file"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        schema::File::json_schema(generator)
    }

    fn configure(&self, settings: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        let mut absolute = |key| -> Option<Option<PathBuf>> {
            let Some(item) = settings.item(key) else {
                return Some(None);
            };
            let path: PathBuf = item.parse()?;
            if !path.is_absolute() {
                item.mistake("must be an absolute path");
                return None;
            }
            Some(Some(path))
        };
        let (root, identity_file) = (absolute("root"), absolute("identity_file"));
        let recipients = read_recipients(settings);
        Some(Box::new(Settings { root: root?, identity_file: identity_file?, recipients: recipients? }))
    }

    fn configure_from(&self, _: &Environment) -> Result<Box<dyn Blueprint>> {
        Ok(Box::new(Settings::default()))
    }
}

#[derive(Clone, Debug, Default)]
struct Settings {
    root: Option<PathBuf>,
    identity_file: Option<PathBuf>,
    recipients: Vec<Recipient>,
}

fn read_recipients(settings: &mut Section<'_>) -> Option<Vec<Recipient>> {
    let Some(item) = settings.item("recipients") else { return Some(Vec::new()) };
    let parsed: Result<Vec<Recipient>, _> =
        item.parse::<Vec<String>>()?.iter().map(|text| text.parse()).collect();
    parsed.map_err(|_| item.mistake("must be recipients of age, as in [age1…]")).ok()
}

impl Blueprint for Settings {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(Files {
            name: context.name,
            settings: Arc::new(self.clone()),
            watches: Arc::new(Watches::default()),
            fingerprint: Fingerprint::default(),
            readers: Arc::new(Semaphore::new(READERS)),
        }))
    }

    fn needs(&self, references: &[&SecretRef]) -> Needs {
        let absolute =
            references.iter().map(|reference| reference.path()).filter(|path| path.starts_with('/'));
        Needs::default()
            .with_trees(&self.root)
            .with_files(&self.identity_file)
            // A folder is a secret, too.
            .with_trees(absolute.clone())
            .with_files(absolute)
    }
}

/// Reads files and folders.
struct Files {
    name: String,
    settings: Arc<Settings>,
    watches: Arc<Watches>,
    fingerprint: Fingerprint,
    readers: Arc<Semaphore>,
}

/// How many files are read at once: each read takes a thread, and a thousand references at the start must not take a thousand.
const READERS: usize = 8;

#[async_trait]
impl Provider for Files {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        only_parameters(reference, &[]).map_err(|error| self.at(reference, error))?;
        self.place(reference)?;
        if format::is_encrypted(reference.path()) && self.settings.identity_file.is_none() {
            let error = Error::config(
                "check reference",
                "the file is encrypted and the provider has no `identity_file`",
            );
            return Err(self.at(reference, error));
        }
        Ok(())
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        Provider::validate(self, reference)?;
        let (place, settings, watches) =
            (self.place(reference)?, self.settings.clone(), self.watches.clone());
        let read = self.blocking("read", move || {
            // Before the read, so that no change is lost between.
            watches.renew(&place);
            read::secret_fields(&place, settings.identity_file.as_deref())
        });
        let secret = read.await.and_then(|fields| {
            let version = self.fingerprint.version(&fields);
            Secret::try_new(fields, version)
        });
        secret.map_err(|error| self.at(reference, error))
    }

    fn changes(&self, reference: &SecretRef) -> Option<channel::Receiver<()>> {
        self.watches.subscribe(self.place(reference).ok()?)
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

impl Files {
    /// Does what waits for a disk on a thread of its own; it is done to its end whether or not anybody waits for it.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let interrupted = || Error::new(ErrorKind::Unavailable, operation, "it was interrupted");
        let permit = self.readers.clone().acquire_owned().await.map_err(|_| interrupted())?;
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        working.await.unwrap_or_else(|_| Err(interrupted()))
    }

    fn place(&self, reference: &SecretRef) -> Result<Place> {
        Place::try_new(self.settings.root.as_deref(), Path::new(reference.path()))
            .map_err(|error| self.at(reference, error))
    }

    fn at(&self, reference: &SecretRef, error: Error) -> Error {
        error.with("provider", &self.name).with("reference", reference.whole())
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
