//! What a reference asks of this provider.

use std::collections::BTreeMap;
use std::fmt::Write;

use keywheel_core::{Error, Result, SecretRef};

use super::mount::Engine;

/// A path, and the way to what is there.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The path without slashes around it.
    pub(super) path: &'a str,
    pub(super) way: Way<'a>,
}

/// The way to a value.
#[derive(Debug)]
pub(super) enum Way<'a> {
    /// Read it; of KV perhaps another version than the newest, and perhaps without asking which KV it is.
    Read { version: Option<u64>, engine: Option<Engine> },
    /// Write these parameters, and take what is answered.
    Write(BTreeMap<&'a str, &'a str>),
    /// Unwrap it with the token in this file.
    Unwrap(&'a str),
}

impl<'a> Target<'a> {
    /// Reads a reference; asks nobody.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](keywheel_core::ErrorKind::Config) with what is wrong.
    pub(super) fn of(reference: &'a SecretRef) -> Result<Self> {
        let wrong = |reason: &str| Err(Error::config("check reference", reason));
        let path = reference.path().trim_matches('/');
        if path.split('/').any(str::is_empty) {
            return wrong("the path has an empty segment");
        }
        if !path.contains('/') {
            return wrong("the path names a mount and nothing below it");
        }
        let parameters = reference.parameters();
        if let Some(file) = parameters.get("wrapped") {
            return match file.starts_with('/') && parameters.len() == 1 {
                true => Ok(Self { path, way: Way::Unwrap(file) }),
                false => wrong(
                    "`wrapped` must be the absolute path of a file with the wrapping token, and stand alone",
                ),
            };
        }
        let (own, written): (BTreeMap<&str, &str>, BTreeMap<&str, &str>) = parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .partition(|(name, _)| OWN.contains(name));
        match (own.is_empty(), written.is_empty()) {
            (true, false) => Ok(Self { path, way: Way::Write(written) }),
            (false, false) => wrong("`kv` and `version` are for reads, and other parameters make it a write"),
            _ => Ok(Self { path, way: Way::read(&own)? }),
        }
    }

    /// Returns the version of KV version 2 that is wanted, where one is.
    pub(super) fn version(&self) -> Option<u64> {
        match self.way {
            Way::Read { version, .. } => version,
            _ => None,
        }
    }

    /// Returns the engine that the reference itself names.
    pub(super) fn engine(&self) -> Option<Engine> {
        match &self.way {
            Way::Read { engine, .. } => engine.clone(),
            _ => None,
        }
    }

    /// Returns a name for what is made there: the path with what is written to it.
    pub(super) fn name(&self) -> String {
        let mut name = self.path.to_owned();
        if let Way::Write(parameters) = &self.way {
            for (parameter, value) in parameters {
                // Writing to a String does not fail.
                write!(name, "?{parameter}={value}").ok();
            }
        }
        name
    }
}

impl Way<'_> {
    fn read(own: &BTreeMap<&str, &str>) -> Result<Self> {
        let wrong = |reason: &str| Err(Error::config("check reference", reason));
        let version = match own.get("version").map(|text| text.parse()) {
            None => None,
            Some(Ok(version)) if version > 0 => Some(version),
            Some(_) => return wrong("`version` must be a whole number from 1"),
        };
        let engine = match own.get("kv") {
            None => None,
            Some(&"1") if version.is_some() => return wrong("`version` is for KV version 2"),
            Some(&"1") => Some(Engine::Kv1),
            Some(&"2") => Some(Engine::Kv2),
            Some(_) => return wrong("`kv` must be 1 or 2"),
        };
        Ok(Self::Read { version, engine })
    }
}

/// The parameters that are about the read itself.
const OWN: [&str; 2] = ["kv", "version"];
