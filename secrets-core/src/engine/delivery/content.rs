//! What the files of a generation were, so that they are known again by another process, and nothing can be read from it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fingerprint::hex;
use crate::payload::Payload;

/// A salted digest of all files with their paths and modes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Content {
    salt: String,
    digest: String,
}

impl Content {
    /// Takes the content of `payload`.
    pub(super) fn of(payload: &Payload) -> Self {
        let salt = format!("{:032x}", fastrand::u128(..));
        Self { digest: digest(&salt, payload), salt }
    }

    /// Tells whether `payload` is that content.
    pub(super) fn is_of(&self, payload: &Payload) -> bool {
        digest(&self.salt, payload) == self.digest
    }
}

fn digest(salt: &str, payload: &Payload) -> String {
    let mut hasher = Sha256::new_with_prefix(salt);
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for (path, file) in &payload.files {
        part(path.as_str().as_bytes());
        part(&file.mode.bits().to_be_bytes());
        part(file.content.expose_secret());
    }
    hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::payload::{Mode, PayloadFile};
    use crate::secret::SecretValue;

    #[test]
    fn content_is_known_again_and_tells_nothing() {
        let payload = |path: &str, content: &[u8], mode: &str| {
            let mode: Mode = mode.parse().unwrap();
            let file = PayloadFile { content: SecretValue::copy_of(content), mode, secrets: BTreeSet::new() };
            Payload { files: [(path.parse().unwrap(), file)].into() }
        };
        let one = payload("a", b"1", "0400");
        let content = Content::of(&one);
        assert!(content.is_of(&one) && Content::of(&one).is_of(&one));
        assert_ne!(Content::of(&one), content, "a guess has to be made for each anew");
        for other in [payload("b", b"1", "0400"), payload("a", b"2", "0400"), payload("a", b"1", "0440")] {
            assert!(!content.is_of(&other));
        }
    }
}
