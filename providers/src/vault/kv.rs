//! Reads the KV engines, with versions and without.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::{Error, ErrorKind, Result, Secret, Upkeep, Value, Version};
use serde::Deserialize;
use vaultrs::api::kv1::requests::GetSecretRequest;
use vaultrs::api::kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest};

use super::endpoint::Logical;
use super::error;
use super::mount::Mount;
use super::session::Session;
use super::transport::Answer;

/// What a path holds at this moment.
#[derive(Debug)]
pub(super) enum Found {
    /// A secret, and when its version was written, where the engine says so.
    Secret(Secret, Option<String>),
    /// Nothing: no such secret, or no such mount any more.
    Nothing,
}

/// What the metadata of a secret says about its newest version.
#[derive(Clone, Debug)]
pub(super) enum Newest {
    /// It is this one, it is there, and it was written then.
    Version(Version, String),
    /// Only a read tells.
    Unclear,
    /// The policy does not allow metadata to be read.
    Hidden,
}

/// What came of the question for a list of versions.
#[derive(Debug)]
pub(super) enum Listing {
    /// The newest versions by key.
    Found(HashMap<String, Newest>),
    /// The policy does not allow it to the token of that identity, or the token has ended.
    Refused(Option<usize>),
    /// The server has no such list, or nothing to list.
    Nothing,
    /// What the server answers is too large, or no list.
    Unreadable,
}

/// Reads a secret without versions. `fingerprint` makes one of the values.
///
/// # Errors
/// A refusal, or an answer of another shape.
pub(super) async fn read1(
    session: &Session,
    mount: &Mount,
    path: &str,
    fingerprint: &Fingerprint,
) -> Result<Found> {
    let request = GetSecretRequest { mount: mount.path.clone(), path: path.to_owned() };
    let answer = session.ask("read", &request).await?;
    match answer.status {
        200 => {
            let fields = answer.parse::<Answer1>()?.data;
            let version = fingerprint.version(&fields);
            Ok(Found::Secret(Secret::try_new(fields, version)?, None))
        }
        404 | 405 => Ok(Found::Nothing),
        _ => Err(refused(session, &answer, &format!("{}/{path}", mount.path))),
    }
}

/// Reads a version of a secret, or the newest.
///
/// # Errors
/// A refusal, a version that was deleted, or an answer of another shape.
pub(super) async fn read2(
    session: &Session,
    mount: &Mount,
    path: &str,
    version: Option<u64>,
) -> Result<Found> {
    let request = ReadSecretRequest { mount: mount.path.clone(), path: path.to_owned(), version };
    let answer = session.ask("read", &request).await?;
    match answer.status {
        200 => {
            let Answer2 { data: Some(fields), metadata } = answer.parse::<Outer<Answer2>>()?.data else {
                return Err(Error::new(ErrorKind::Invalid, "read", "the answer holds no fields")
                    .with("path", &answer.path));
            };
            let mut secret = Secret::try_new(fields, Version::new(metadata.version))?;
            secret.upkeep = Upkeep::Poll { ends_at: metadata.deletion_time() };
            Ok(Found::Secret(secret, Some(metadata.created_time)))
        }
        404 => match answer.parse::<Outer<Answer2>>() {
            Ok(outer) => Err(deleted(&outer.data.metadata)),
            Err(_) => Ok(Found::Nothing),
        },
        405 => Ok(Found::Nothing),
        _ => Err(refused(session, &answer, &format!("{}/data/{path}", mount.path))),
    }
}

/// Asks for the newest version without its value.
///
/// # Errors
/// No answer, or one of another shape.
pub(super) async fn newest(session: &Session, mount: &Mount, path: &str) -> Result<Newest> {
    let request = ReadSecretMetadataRequest { mount: mount.path.clone(), path: path.to_owned() };
    let answer = session.probe("read metadata", &request).await?;
    match answer.status {
        200 => Ok(answer.parse::<Outer<AllMetadata>>()?.data.newest()),
        403 => Ok(Newest::Hidden),
        404 | 405 => Ok(Newest::Unclear),
        _ => Err(error::refused(&answer)),
    }
}

/// Asks for the newest versions of all secrets in `folder`, which is empty or ends with a slash. Vault has no such list.
///
/// # Errors
/// No answer, or one of another shape.
pub(super) async fn list(session: &Session, mount: &Mount, folder: &str) -> Result<Listing> {
    let identity = session.identity();
    let request = Logical::list(format!("{}/detailed-metadata/{folder}", mount.path));
    let answer = match session.probe("list versions", &request).await {
        Err(error) if error.kind() == ErrorKind::Invalid => return Ok(Listing::Unreadable),
        answer => answer?,
    };
    match answer.status {
        200 => Ok(answer.parse::<Outer<List>>().map_or(Listing::Unreadable, |outer| {
            let newest = |(key, metadata): (String, AllMetadata)| (key, metadata.newest());
            Listing::Found(outer.data.key_info.into_iter().map(newest).collect())
        })),
        403 => Ok(Listing::Refused(identity)),
        404 | 405 => Ok(Listing::Nothing),
        _ => Err(error::refused(&answer)),
    }
}

pub(super) fn refused(session: &Session, answer: &Answer, policy_path: &str) -> Error {
    let error = error::refused(answer);
    match error.kind() {
        ErrorKind::PermissionDenied => {
            error.with_help(format!("the policy must allow `read` on {policy_path}{}", session.doubt()))
        }
        _ => error,
    }
}

fn deleted(metadata: &VersionMetadata) -> Error {
    let version = metadata.version;
    if metadata.destroyed {
        return Error::new(ErrorKind::NotFound, "read", format!("version {version} was destroyed"))
            .with_help("write the secret again");
    }
    Error::new(ErrorKind::NotFound, "read", format!("version {version} was deleted"))
        .with_help("undelete it (`kv undelete`), or write the secret again")
}

#[derive(Deserialize)]
struct Answer1 {
    data: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct Outer<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
pub(super) struct Answer2 {
    pub(super) data: Option<BTreeMap<String, Value>>,
    pub(super) metadata: VersionMetadata,
}

#[derive(Deserialize)]
pub(super) struct VersionMetadata {
    pub(super) version: u64,
    #[serde(default)]
    pub(super) created_time: String,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl VersionMetadata {
    /// Returns when the server will delete the version, where it was told so beforehand.
    fn deletion_time(&self) -> Option<Timestamp> {
        self.deletion_time.parse().ok()
    }
}

#[derive(Deserialize)]
struct List {
    key_info: BTreeMap<String, AllMetadata>,
}

/// What is known of a secret's versions; of a folder in a list, nothing is.
#[derive(Deserialize)]
struct AllMetadata {
    #[serde(default)]
    current_version: u64,
    #[serde(default)]
    versions: BTreeMap<String, OneMetadata>,
}

impl AllMetadata {
    fn newest(mut self) -> Newest {
        let name = self.current_version.to_string();
        match self.versions.remove(&name) {
            // Whether a deletion is due is for the server's clock to say.
            Some(newest) if !newest.destroyed && newest.deletion_time.is_empty() => {
                Newest::Version(Version::new(name), newest.created_time)
            }
            _ => Newest::Unclear,
        }
    }
}

#[derive(Deserialize)]
struct OneMetadata {
    #[serde(default)]
    created_time: String,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}
