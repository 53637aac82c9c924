//! Remembers when the version of a secret that was read last was written.
//!
//! A secret that is deleted with its metadata and written anew begins again at version 1: the number alone would not tell it from the
//! one before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The times at which the newest versions were written, as the server wrote them, by path.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<String, String>>);

impl Written {
    /// Returns when the version that was read last was written.
    pub(super) fn at(&self, path: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Notes when the version that was just read was written.
    pub(super) fn note(&self, path: &str, at: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), at);
    }
}
