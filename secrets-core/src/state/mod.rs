//! What outlives an engine: logins, leases and the values that a read would make anew, so that whoever comes next goes on with them.
//!
//! A configuration that is read again takes over from memory. A process that is started again takes over from a [`State::open`]ed
//! directory, which has to be memory-backed and private: it holds secrets.

mod directory;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use tracing::{info, warn};

use self::directory::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::SecretValue;

/// A place for a few small records, each under a name. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct State(Arc<Store>);

#[derive(Debug)]
enum Store {
    Memory(Mutex<BTreeMap<String, SecretValue>>, Once),
    Directory(Directory),
}

/// The place of one record.
#[derive(Clone, Debug)]
pub struct Slot {
    state: State,
    name: String,
}

impl State {
    /// The largest record, in bytes: a secret as JSON may write it.
    pub const MAX_BYTES: u64 = 8 << 20;

    /// Makes a place in memory, which ends with the process.
    pub fn in_memory() -> Self {
        Self(Arc::new(Store::Memory(Mutex::default(), Once::new())))
    }

    /// Opens `directory`, made with 0700 where it is missing, for this process alone.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is on a disk, belongs to another user, is open to others, or is in use by another process.
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self(Arc::new(Store::Directory(Directory::open(directory)?))))
    }

    /// Returns the directory, where there is one.
    pub fn directory(&self) -> Option<&Path> {
        match &*self.0 {
            Store::Memory(..) => None,
            Store::Directory(directory) => Some(directory.path()),
        }
    }

    /// Returns the place of the record `name` of this kind; both have letters, digits, `-` and `_` alone.
    pub fn slot(&self, kind: &str, name: &str) -> Slot {
        Slot { state: self.clone(), name: format!("{kind}.{name}") }
    }

    /// Returns the places of this kind that hold a record.
    pub fn slots(&self, kind: &str) -> Vec<Slot> {
        let names: Vec<String> = match &*self.0 {
            Store::Memory(records, _) => lock(records).keys().cloned().collect(),
            Store::Directory(directory) => directory.names(),
        };
        let prefix = format!("{kind}.");
        let ours = names.into_iter().filter(|name| name.starts_with(&prefix));
        ours.map(|name| Slot { state: self.clone(), name }).collect()
    }
}

impl Slot {
    /// Returns the name, which is also that of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says once, for all records, that a lease which is remembered here does not outlive the process, where that is so.
    pub(crate) fn say_if_it_ends_with_the_process(&self) {
        if let Store::Memory(_, said) = &*self.state.0 {
            said.call_once(|| {
                info!("no `state_directory` is set: if this process is killed, nobody renews its leases, and the next one asks for new credentials");
            });
        }
    }

    /// Returns the record; none where there is none, or none that can be read, which is logged.
    pub async fn load(&self) -> Option<SecretValue> {
        let loaded = match &*self.state.0 {
            Store::Memory(records, _) => {
                Ok(lock(records).get(&self.name).map(|record| SecretValue::copy_of(record.expose_secret())))
            }
            Store::Directory(directory) if !directory.has(&self.name) => Ok(None),
            Store::Directory(_) => self.with_files(|directory, name| directory.read(name)).await,
        };
        loaded.unwrap_or_else(|error| {
            warn!(record = self.name, %error, "a record of the state cannot be read; it is left out");
            None
        })
    }

    /// Replaces the record, whole or not at all. A failure is logged: the program goes on, and only a restart would miss the record.
    pub async fn save(&self, record: SecretValue) {
        let saved = match &*self.state.0 {
            Store::Memory(records, _) => {
                lock(records).insert(self.name.clone(), record);
                Ok(())
            }
            Store::Directory(_) => {
                self.with_files(move |directory, name| directory.write(name, &record)).await
            }
        };
        if let Err(error) = saved {
            warn!(record = self.name, %error, "the state cannot be saved; a restart would not know of it");
        }
    }

    /// Removes the record, if there is one.
    pub async fn clear(&self) {
        let cleared = match &*self.state.0 {
            Store::Memory(records, _) => {
                lock(records).remove(&self.name);
                Ok(())
            }
            Store::Directory(directory) if !directory.has(&self.name) => Ok(()),
            Store::Directory(_) => self.with_files(|directory, name| directory.remove(name)).await,
        };
        if let Err(error) = cleared {
            warn!(record = self.name, %error, "a record of the state cannot be removed");
        }
    }

    /// Does file work away from the loop that waits.
    async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (store, name) = (Arc::clone(&self.state.0), self.name.clone());
        let work = move || match &*store {
            Store::Directory(directory) => work(directory, &name),
            Store::Memory(..) => Err(Error::new(ErrorKind::Invalid, "keep state", "there are no files")),
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(ErrorKind::Invalid, "keep state", "the file work ended by itself")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
