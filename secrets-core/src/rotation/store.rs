//! Where a rotated value is published, and where the record of its rotation is kept.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::reference::SecretRef;
use crate::value::Value;

/// The fields of a secret by name.
pub type Fields = BTreeMap<String, Value>;

/// Names the state of one place of a [`Store`]; it holds nothing of the value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Revision(String);

impl Revision {
    /// Takes the store's own name for the state.
    pub fn new(name: impl fmt::Display) -> Self {
        Self(name.to_string())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a place holds.
#[derive(Debug)]
pub struct Document {
    /// The fields; none where there is nothing, or where it was deleted.
    pub fields: Option<Fields>,
    /// The state that a write has to name.
    pub revision: Revision,
    /// When it was written, where the store says so.
    pub written_at: Option<Timestamp>,
}

/// Writes secrets by compare-and-set.
///
/// As with [`Provider`](crate::Provider), failures are classified and never tried again here.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Checks, without asking anybody, that `target` is one that could be written to.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what is wrong: it names a version, say.
    fn validate(&self, target: &SecretRef) -> Result<()>;

    /// Returns the place of the record that belongs to `target`, where readers of `target` do not look; the same for everybody.
    ///
    /// # Errors
    /// As for [`look`](Self::look).
    async fn record_of(&self, target: &SecretRef) -> Result<SecretRef>;

    /// Returns the place in which replicas write down which version of `target` they use; the same for everybody.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the versions that readers see are not the revisions that are written; otherwise as for
    /// [`look`](Self::look).
    async fn acknowledgements_of(&self, target: &SecretRef) -> Result<SecretRef> {
        let reason = "what is published there has no versions that replicas could acknowledge: that takes KV version 2";
        Err(Error::new(ErrorKind::Unsupported, "acknowledge", reason).with("reference", target))
    }

    /// Reads what is at `place`; nothing is an answer, too.
    ///
    /// # Errors
    /// No answer, or a refusal.
    async fn look(&self, place: &SecretRef) -> Result<Document>;

    /// Replaces all of what is at `place`, if that is still at `expected`; returns the new revision. A repeated write with the same `token`
    /// may be answered as the first one was.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it is at another revision, and nothing was written; otherwise as for
    /// [`look`](Self::look), and where no answer came, it may have been written.
    async fn write(
        &self,
        place: &SecretRef,
        fields: &Fields,
        expected: &Revision,
        token: &str,
    ) -> Result<Revision>;
}

/// Copies `fields`; what is made is wiped as what it was made from.
pub fn copy(fields: &Fields) -> Fields {
    fields.iter().map(|(name, value)| (name.clone(), value.copy())).collect()
}
