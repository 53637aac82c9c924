//! A value, and which one it is.

use std::fmt;
use std::ops::Deref;

use crate::secret::Version;

/// A value in a type of the caller's own, with the version that the source has it under. `Debug` shows the version alone.
pub struct Versioned<T> {
    value: T,
    version: Version,
    revision: u64,
}

impl<T> Versioned<T> {
    pub(super) fn new(value: T, version: Version, revision: u64) -> Self {
        Self { value, version, revision }
    }

    /// Returns the state that the source was in.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Counts the values of this secret since it is watched: it tells a new one from the last, also where the source has it under the same version.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Versioned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned").field("version", &self.version).finish_non_exhaustive()
    }
}
