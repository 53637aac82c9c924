//! What an `ExternalSecret` asks of its store: a secret, a version of it, and perhaps one property.

use std::collections::BTreeMap;

use super::store::Store;
use crate::config::node::Place;
use crate::config::section::{Item, Section};
use crate::reference::SecretRef;

/// How the secrets of a store are named.
pub(super) enum Backend {
    /// In a KV engine.
    Vault {
        /// Its mount; the key's first part, if left out.
        mount: Option<String>,
        kv: Kv,
    },
    SecretsManager {
        prefix: String,
    },
    ParameterStore {
        prefix: String,
    },
}

/// The versions of the KV engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kv {
    V1,
    V2,
}

/// What a `remoteRef` or an `extract` says.
pub(super) struct Remote {
    pub(super) reference: SecretRef,
    /// Whether a property is asked for.
    pub(super) is_property: bool,
    /// Whether the value is base64 of what is delivered.
    pub(super) is_encoded: bool,
    pub(super) place: Place,
}

/// What the value is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// One key.
    Data,
    /// A key for each field.
    Extract,
}

/// A place at a provider, before it is a reference.
#[derive(Default)]
struct Target {
    path: String,
    parameters: BTreeMap<String, String>,
}

/// Reads a `remoteRef` or an `extract`; notes what is wrong. Without a store, nothing comes of it but that.
pub(super) fn read(item: &Item<'_>, store: Option<&Store>, purpose: Purpose) -> Option<Remote> {
    let mut section = item.section()?;
    let key = section.item("key");
    if key.is_none() {
        section.mistake("needs `key`");
    }
    let property = section.item("property").filter(|property| property.text() != Some(""));
    let version = section.item("version").filter(|version| version.text() != Some(""));
    let is_encoded = read_policies(&mut section, purpose);
    section.finish();
    let field = match &property {
        Some(property) => Some(read_property(property)?),
        None => None,
    };
    let (key, store) = (key?, store?);
    let backend = store.backend.as_ref()?;
    let name: String = key.parse()?;
    let mut target = backend.target(&name).map_err(|reason| key.mistake(reason)).ok()?;
    if let Some(version) = &version {
        let text: String = version.parse()?;
        let (parameter, value) = backend.version(&text).map_err(|reason| version.mistake(reason)).ok()?;
        target.parameters.insert(parameter.into(), value);
    }
    // A value of AWS is delivered as the text that it is, also where that is JSON, or has fields, and then must be JSON.
    let is_of_aws = !matches!(backend, Backend::Vault { .. });
    let is_whole = field.is_none() && purpose == Purpose::Data && is_of_aws;
    if is_of_aws {
        target.parameters.insert("text".into(), is_whole.to_string());
    }
    let field = if is_whole { Some("value".to_owned()) } else { field };
    let Target { path, parameters } = target;
    let reference = SecretRef::try_new(&store.provider, &path, parameters, field.as_deref());
    let reference = reference.map_err(|error| key.mistake(error.to_string())).ok()?;
    Some(Remote { reference, is_property: field.is_some(), is_encoded, place: key.place() })
}

impl Backend {
    /// Names the secret under `key`, as the operator's own providers do.
    fn target(&self, key: &str) -> Result<Target, &'static str> {
        let target = match self {
            Self::Vault { mount: Some(mount), kv } => {
                let below = key.strip_prefix(mount).and_then(|rest| rest.strip_prefix('/'));
                let path = match (below, kv) {
                    (Some(path), Kv::V2) => path.strip_prefix("data/").unwrap_or(path),
                    (Some(path), Kv::V1) => path,
                    (None, _) => key,
                };
                Target { path: format!("{mount}/{path}"), parameters: kv.parameters(!mount.contains('/')) }
            }
            Self::Vault { mount: None, kv: Kv::V1 } => Target { path: key.into(), ..Target::default() },
            Self::Vault { mount: None, .. } if key.starts_with('/') => {
                return Err("must begin with the mount, and not with a slash: the store has no `path`");
            }
            // A path of the API names the mount itself, which may have several parts.
            Self::Vault { mount: None, kv } => match key.split_once("/data/") {
                Some((mount, path)) => Target {
                    path: format!("{mount}/{path}"),
                    parameters: kv.parameters(!mount.contains('/')),
                },
                None => Target { path: key.into(), parameters: kv.parameters(true) },
            },
            Self::SecretsManager { prefix } | Self::ParameterStore { prefix } => {
                Target { path: format!("{prefix}{key}"), ..Target::default() }
            }
        };
        match self {
            Self::Vault { .. } => {
                // As the client of Vault does, which the operator uses.
                let parts: Vec<&str> = target.path.split('/').filter(|part| !part.is_empty()).collect();
                match parts.len() {
                    0 | 1 => Err("must be the path of a secret below its mount"),
                    _ => Ok(Target { path: parts.join("/"), ..target }),
                }
            }
            Self::ParameterStore { .. } if target.path.ends_with('/') => {
                Err("must be the name of one parameter: all below a path are read in Keywheel's own form")
            }
            _ => Ok(target),
        }
    }

    /// Returns the parameter of a reference that asks for a version.
    fn version(&self, version: &str) -> Result<(&'static str, String), &'static str> {
        let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
        let is_good = version.parse::<u64>().is_ok_and(|number| number > 0);
        match self {
            Self::Vault { kv: Kv::V1, .. } => Err("goes with version v2 of KV"),
            Self::Vault { .. } | Self::ParameterStore { .. } if is_good => Ok(("version", version.into())),
            Self::ParameterStore { .. } if !is_number => Ok(("label", version.into())),
            Self::Vault { .. } | Self::ParameterStore { .. } => Err("must be a whole number from 1"),
            Self::SecretsManager { .. } => match version.strip_prefix("uuid/") {
                Some(id) if VERSION_ID.contains(&id.len()) => Ok(("version-id", id.into())),
                Some(_) => Err("must be `uuid/` and an id of 32 to 64 characters, or a label"),
                None => Ok(("stage", version.into())),
            },
        }
    }
}

impl Kv {
    /// Returns what a reference says about the engine, where its path's first part is the mount: the server need not be asked then. What is read as
    /// version 1 may be of any engine.
    fn parameters(self, is_first: bool) -> BTreeMap<String, String> {
        let said = (self == Self::V2 && is_first).then(|| ("kv".to_owned(), "2".to_owned()));
        said.into_iter().collect()
    }
}

/// Reads what is done with a value; tells whether it is decoded.
fn read_policies(section: &mut Section<'_>, purpose: Purpose) -> bool {
    if let Some(policy) = section.item("metadataPolicy").filter(|policy| policy.text() != Some("None")) {
        policy.mistake("must be None: Keywheel reads secrets, and not what is noted about them");
    }
    if let Some(strategy) = section.item("conversionStrategy") {
        match (strategy.text(), purpose) {
            (Some("Default"), _) | (Some("Unicode"), Purpose::Data) => {}
            (Some("Unicode"), Purpose::Extract) => {
                strategy.mistake("must be Default: what no key can have becomes `_`");
            }
            _ => strategy.mistake("must be Default or Unicode"),
        }
    }
    let Some(strategy) = section.item("decodingStrategy") else { return false };
    match (strategy.text(), purpose) {
        (Some("None"), _) => {}
        (Some("Base64" | "Base64URL"), Purpose::Data) => return true,
        (Some("Base64" | "Base64URL"), Purpose::Extract) => {
            strategy.mistake("must be None: name each key in `data`, with its `decodingStrategy` there");
        }
        _ => strategy.mistake("must be None, Base64 or Base64URL: what a value is, is not guessed"),
    }
    false
}

/// Reads a property: a key, or a path of keys and indices. Whatever else the operator's query language (gjson) has is refused.
fn read_property(item: &Item<'_>) -> Option<String> {
    let property: String = item.parse()?;
    let is_query = property.contains(['*', '?', '#', '|', '\\'])
        || property.starts_with(['/', '.'])
        || property.split('.').any(|step| step.starts_with(['@', '!', '{', '[']));
    if is_query {
        item.mistake(
            "must be a key, or a path of keys and indices such as db.users.0: Keywheel reads no queries",
        );
        return None;
    }
    Some(property)
}

/// How long the id of a version is in Secrets Manager.
const VERSION_ID: std::ops::RangeInclusive<usize> = 32..=64;
