//! Remembers when the version of a secret that was read last was written.
//!
//! A secret that is deleted with its metadata and written anew begins again at version 1: the number alone would not tell it from the
//! one before.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When the newest versions were written, by path. Both are kept as keyed hashes of 64 bits, which no two of some thousand texts share.
#[derive(Debug, Default)]
pub(super) struct Written {
    known: Mutex<HashMap<u64, Moment>>,
    hasher: RandomState,
}

/// Stands for the time at which a version was written, as the server wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Moment(u64);

impl Written {
    /// Returns what stands for that time.
    pub(super) fn moment(&self, at: &str) -> Moment {
        Moment(self.hasher.hash_one(at))
    }

    /// Returns when the version that was read last was written.
    pub(super) fn at(&self, path: &str) -> Option<Moment> {
        self.known().get(&self.hasher.hash_one(path)).copied()
    }

    /// Notes when the version that was just read was written.
    pub(super) fn note(&self, path: &str, at: &str) {
        let (path, moment) = (self.hasher.hash_one(path), self.moment(at));
        self.known().insert(path, moment);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Moment>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
