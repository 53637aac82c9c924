//! Looking at what is to be delivered before anybody sees it: what cannot be right does not become visible.

mod certificate;

use std::fmt;

use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::error::{Error, ErrorKind, Result};
use crate::notify::Event;
use crate::payload::{FilePath, Payload, PayloadFile};
use crate::program::Program;

/// One thing that has to hold of the files of a generation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Validator {
    /// The file has at least one byte that is not white space.
    NotEmpty(FilePath),
    /// The file is one JSON value.
    Json(FilePath),
    /// The file is one YAML document.
    Yaml(FilePath),
    /// The file consists of `NAME=value` lines.
    Dotenv(FilePath),
    /// The file holds certificates in PEM form, of which the first is valid at this moment; and it belongs to the private key, where one is named.
    Certificate {
        /// The certificates, the leaf's first.
        certificates: FilePath,
        /// The file with the private key in PEM form.
        key: Option<FilePath>,
    },
    /// The program ends with exit code 0. In its arguments, `{directory}` stands for the folder that the files are in before they are visible.
    Exec(Program),
}

impl Validator {
    /// Tells whether it needs the files on the volume.
    pub fn looks_at_files(&self) -> bool {
        matches!(self, Self::Exec(_))
    }

    /// Looks at the content of `payload`; a program is not run by it.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] naming the file and what is wrong with it, without any of its content.
    pub fn check(&self, payload: &Payload, now: Timestamp) -> Result<()> {
        let (path, found) = match self {
            Self::Exec(_) => return Ok(()),
            Self::NotEmpty(path) => (path, file(payload, path).and_then(not_empty)),
            Self::Json(path) => (path, file(payload, path).and_then(json)),
            Self::Yaml(path) => (path, text(payload, path).and_then(yaml)),
            Self::Dotenv(path) => (path, text(payload, path).and_then(dotenv)),
            Self::Certificate { certificates, key } => {
                let key = key.as_ref().map(|path| file(payload, path)).transpose();
                let checked = file(payload, certificates)
                    .and_then(|certificates| certificate::check(bytes(certificates), key?.map(bytes), now));
                (certificates, checked)
            }
        };
        found.map_err(|reason| rejected(reason).with("file", path))
    }

    /// Runs the program of the validator, if it is one, on a generation that is complete and not visible yet.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`]; temporary where the program did not come to say yes or no.
    pub async fn run(&self, staged: &Event) -> Result<()> {
        let Self::Exec(program) = self else { return Ok(()) };
        program.run(staged).await.map_err(|failure| {
            rejected(failure.reason).with("program", program).with_temporary(!failure.said_no)
        })
    }

    /// Returns the files that it looks at.
    pub fn files(&self) -> Vec<&FilePath> {
        match self {
            Self::NotEmpty(path) | Self::Json(path) | Self::Yaml(path) | Self::Dotenv(path) => vec![path],
            Self::Certificate { certificates, key } => std::iter::once(certificates).chain(key).collect(),
            Self::Exec(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty(path) => write!(f, "not_empty {path}"),
            Self::Json(path) => write!(f, "json {path}"),
            Self::Yaml(path) => write!(f, "yaml {path}"),
            Self::Dotenv(path) => write!(f, "dotenv {path}"),
            Self::Certificate { certificates, .. } => write!(f, "certificate {certificates}"),
            Self::Exec(program) => program.fmt(f),
        }
    }
}

fn rejected(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Rejected, "validate", reason.into()).with_temporary(false)
}

fn file<'a>(payload: &'a Payload, path: &FilePath) -> Result<&'a PayloadFile, String> {
    payload.files.get(path).ok_or_else(|| "there is no such file in the delivery".into())
}

fn bytes(file: &PayloadFile) -> &[u8] {
    file.content.expose_secret()
}

fn text<'a>(payload: &'a Payload, path: &FilePath) -> Result<&'a str, String> {
    let file = file(payload, path)?;
    file.content.expose_text().ok_or_else(|| "it is not UTF-8 text".into())
}

fn not_empty(file: &PayloadFile) -> Result<(), String> {
    let blank = bytes(file).iter().all(u8::is_ascii_whitespace);
    if blank { Err("it is empty".into()) } else { Ok(()) }
}

fn json(file: &PayloadFile) -> Result<(), String> {
    let parsed = serde_json::from_slice::<IgnoredAny>(bytes(file));
    parsed
        .map(drop)
        .map_err(|error| format!("it is not JSON, as line {} column {} shows", error.line(), error.column()))
}

#[cfg(feature = "yaml")]
fn yaml(text: &str) -> Result<(), String> {
    serde_saphyr::from_str::<IgnoredAny>(text).map(drop).map_err(|error| match error.location() {
        Some(at) => format!("it is not YAML, as line {} column {} shows", at.line(), at.column()),
        None => "it is not YAML".into(),
    })
}

#[cfg(not(feature = "yaml"))]
fn yaml(_text: &str) -> Result<(), String> {
    Err("this program was built without the feature `yaml`".into())
}

fn dotenv(text: &str) -> Result<(), String> {
    for (number, entry) in dotenvy::from_read_iter(text.as_bytes()).enumerate() {
        if entry.is_err() {
            return Err(format!("it is not dotenv: entry {} cannot be read", number + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
