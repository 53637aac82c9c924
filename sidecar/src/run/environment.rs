//! What the command finds in its environment: that of this program, without what is meant for this program alone, and with secrets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::Arc;

use keywheel_core::{Secret, SecretRef, SecretValue};

use crate::exit::Failure;
use crate::variables::{is_variable_name, same_variable, variable_name};

/// A variable of the command and what it is to hold.
#[derive(Clone, Debug)]
struct Assignment {
    name: String,
    reference: SecretRef,
}

impl Assignment {
    /// Reads `NAME=REF`. What is wrong is told without the text, which may be a secret in the place of a reference.
    fn parse(text: &str) -> Result<Self, Failure> {
        let (name, reference) = text.split_once('=').unwrap_or(("", ""));
        if !is_variable_name(name) {
            return Err(Failure::usage(
                "--env is given as NAME=REF, as in PASSWORD=vault://secret/orders/db#password",
            ));
        }
        let reference =
            reference.parse().map_err(|error| Failure::usage(format!("--env {name}: {error}")))?;
        Ok(Self { name: name.into(), reference })
    }
}

/// How the command's environment differs from this program's: names and references, no values.
#[derive(Debug)]
pub(crate) struct Plan {
    held_back: Vec<OsString>,
    /// Later ones win.
    sources: Vec<Source>,
    /// Its key lives and dies with this program, so that what it makes of a value tells nothing of it.
    fingerprint: RandomState,
}

#[derive(Debug)]
enum Source {
    One(Assignment),
    All(SecretRef),
}

/// What somebody wants of the command's environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Each as `NAME=REF`.
    pub(crate) env: Vec<String>,
    pub(crate) env_from: Vec<SecretRef>,
    /// Names of variables that are passed on as they are; a `*` at the end stands for any rest.
    pub(crate) keep: Vec<String>,
}

/// The variables that hold secrets, with their values.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    values: BTreeMap<String, SecretValue>,
    /// Two resolved with the same have the same values.
    pub(super) mark: u64,
}

impl Plan {
    /// Looks at the `variables` of this program. Those whose whole value is a reference to one of `providers` are resolved.
    ///
    /// # Errors
    /// What is no reference and should be one. It is not quoted.
    pub(crate) fn new(
        wishes: Wishes,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        providers: &[&str],
    ) -> Result<Self, Failure> {
        let (mut held_back, mut sources) = (Vec::new(), Vec::new());
        for (name, value) in variables {
            let text = name.to_str().unwrap_or_default();
            if wishes.keep.iter().any(|kept| matches(kept, text)) {
                continue;
            }
            if is_variable_name(text)
                && value.to_str().is_some_and(|value| begins_as_reference(value, providers))
            {
                // What is wrong is not told in detail: it may be another program's address, with a password in it.
                let reference = value.to_str().and_then(|value| value.parse().ok()).ok_or_else(|| {
                    Failure::usage(format!(
                        "the value of the variable {text} begins as a reference and is none, PROVIDER://PATH?NAME=VALUE#FIELD; \
                         with --keep {text} it is passed on as it is"
                    ))
                })?;
                sources.push(Source::One(Assignment { name: text.into(), reference }));
            } else if is_held_back(text) {
                held_back.push(name);
            }
        }
        sources.extend(wishes.env_from.into_iter().map(Source::All));
        for text in &wishes.env {
            sources.push(Source::One(Assignment::parse(text)?));
        }
        Ok(Self { held_back, sources, fingerprint: RandomState::new() })
    }

    /// Returns every reference that is to be read.
    pub(crate) fn references(&self) -> Vec<SecretRef> {
        let reference = |source: &Source| match source {
            Source::One(assignment) => assignment.reference.clone(),
            Source::All(reference) => reference.clone(),
        };
        self.sources.iter().map(reference).collect()
    }

    /// Takes the values out of what `secret` has of each reference.
    ///
    /// # Errors
    /// A field that is not there, or a value that no variable can hold.
    pub(super) fn resolve(
        &self,
        secret: impl Fn(&SecretRef) -> Option<Arc<Secret>>,
    ) -> Result<Resolved, Failure> {
        let mut values = BTreeMap::new();
        for source in &self.sources {
            let (Source::One(Assignment { reference, .. }) | Source::All(reference)) = source;
            let secret =
                secret(reference).ok_or_else(|| Failure::other(format!("{reference} has not been read")))?;
            match source {
                Source::One(Assignment { name, .. }) => {
                    let value = secret.value(reference.field());
                    values.insert(name.clone(), value.map_err(|error| error.with("reference", reference))?);
                }
                Source::All(_) => values.extend(all_fields(&secret, reference)?),
            }
        }
        if let Some((name, _)) = values.iter().find(|(_, value)| value.expose_secret().contains(&0)) {
            return Err(Failure::other(format!("{name} has a NUL byte, which no variable can hold")));
        }
        let mut hasher = self.fingerprint.build_hasher();
        for (name, value) in &values {
            (name, value.expose_secret()).hash(&mut hasher);
        }
        Ok(Resolved { values, mark: hasher.finish() })
    }

    /// Gives `command` its environment.
    pub(super) fn apply(&self, resolved: &Resolved, command: &mut Command) {
        for name in &self.held_back {
            command.env_remove(name);
        }
        for (name, value) in &resolved.values {
            command.env(name, OsStr::from_bytes(value.expose_secret()));
        }
    }
}

fn all_fields(secret: &Secret, reference: &SecretRef) -> Result<BTreeMap<String, SecretValue>, Failure> {
    if let Some(field) = reference.field() {
        let name = variable_name(field.as_str().rsplit(['/', '.']).next().unwrap_or_default())?;
        let value = secret.value(Some(field)).map_err(|error| error.with("reference", reference))?;
        return Ok([(name, value)].into());
    }
    let mut values = BTreeMap::new();
    for (field, value) in secret.fields() {
        let name = variable_name(field)?;
        let value = value.to_bytes().ok_or_else(|| {
            Failure::other(format!("the field {field:?} of {reference} holds bytes that are no text"))
        })?;
        if values.insert(name.clone(), value).is_some() {
            return Err(same_variable(&name));
        }
    }
    Ok(values)
}

/// Tells whether a value is meant as a reference: it begins with the name of a provider that there is.
fn begins_as_reference(value: &str, providers: &[&str]) -> bool {
    value.split_once("://").is_some_and(|(name, _)| providers.contains(&name))
}

/// Tells whether a variable is meant for this program, or is a credential of it: the command would be able to do all that this program can.
fn is_held_back(name: &str) -> bool {
    const SETTINGS: [&str; 2] = ["VAULT_", "BAO_"];
    const CREDENTIALS: [&str; 5] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    ];
    SETTINGS.iter().any(|prefix| name.starts_with(prefix)) || CREDENTIALS.contains(&name)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests;
