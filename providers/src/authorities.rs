//! Whom a server's certificate has to come from.

use std::path::{Path, PathBuf};

use keywheel_core::config::Section;
use keywheel_core::{Error, Result};

/// Certificates of authorities in PEM, which are trusted, and no others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Authorities {
    /// A file, read when a client is built.
    File(PathBuf),
    /// The text itself.
    Given(String),
}

/// How the settings name them.
#[cfg(feature = "schema")]
#[derive(keywheel_core::schema::JsonSchema)]
#[allow(dead_code, reason = "the type is described, and never made")]
pub(crate) struct AuthoritiesSchema {
    /// A file with the authorities to trust, and no others, in PEM. Left out: the system's.
    ca_file: Option<keywheel_core::schema::Text>,
    /// The same as a text.
    ca_pem: Option<keywheel_core::schema::Text>,
}

impl Authorities {
    /// Reads `ca_file`, or `ca_pem`, which takes the certificates themselves.
    pub(crate) fn parse(section: &mut Section<'_>) -> Option<Self> {
        let (file, given) = (section.optional("ca_file"), section.optional("ca_pem"));
        if file.is_some() && given.is_some() {
            section.mistake("needs not both of `ca_file` and `ca_pem`");
        }
        file.map(Self::File).or(given.map(Self::Given))
    }

    /// Returns the file, where it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Given(_) => None,
        }
    }

    /// Returns the certificates as they are at this moment.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn pem(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(file) => {
                std::fs::read(file).map_err(|error| self.wrong(&format!("cannot read the file: {error}")))
            }
            Self::Given(text) => Ok(text.as_bytes().to_vec()),
        }
    }

    /// Says what is wrong with them.
    pub(crate) fn wrong(&self, reason: &str) -> Error {
        self.named(Error::config("connect", reason))
    }

    /// Says in an error where they come from.
    pub(crate) fn named(&self, error: Error) -> Error {
        match self {
            Self::File(file) => error.with("ca_file", file.display()),
            Self::Given(_) => error.with("ca_pem", "as configured"),
        }
    }
}
