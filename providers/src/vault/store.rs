//! Writes the KV engines: with versions by check-and-set, without by looking first.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::fingerprint::digest;
use keywheel_core::rotation::{Document, Fields, Revision, Store};
use keywheel_core::value::Exposed;
use keywheel_core::{Error, ErrorKind, Result, SecretRef};
use serde::Serialize;
use vaultrs::api::kv2::requests::ReadSecretRequest;
use zeroize::Zeroizing;

use super::endpoint::Logical;
use super::error;
use super::kv::{self, Answer2, Found, Outer, VersionMetadata};
use super::mount::{Engine, Mount};
use super::provider::{VaultProvider, below};
use super::session::Session;
use super::target::{Target, Way};
use super::transport::Answer;

impl VaultProvider {
    async fn look_at(&self, place: &SecretRef) -> Result<Document> {
        let target = writable(place)?;
        let mount = self.mount(&target).await?;
        let path = below(&mount, &target)?;
        match mount.engine {
            Engine::Kv2 => look2(&self.session, &mount, path).await,
            Engine::Kv1 => self.look1(&mount, path).await,
            Engine::Other(_) => Err(not_kv(&mount)),
        }
    }

    async fn look1(&self, mount: &Mount, path: &str) -> Result<Document> {
        let fields = match kv::read1(&self.session, mount, path, &self.fingerprint).await? {
            Found::Secret(secret, _) => Some(secret.into_fields()),
            Found::Nothing => None,
        };
        Ok(Document { revision: revision1(fields.as_ref())?, fields, written_at: None })
    }

    async fn write_at(&self, place: &SecretRef, fields: &Fields, expected: &Revision) -> Result<Revision> {
        let target = writable(place)?;
        let mount = self.mount(&target).await?;
        let path = below(&mount, &target)?;
        match mount.engine {
            Engine::Kv2 => write2(&self.session, &mount, path, fields, expected).await,
            Engine::Kv1 => {
                if self.look1(&mount, path).await?.revision != *expected {
                    return Err(conflict(path));
                }
                write1(&self.session, &mount, path, fields).await?;
                revision1(Some(fields))
            }
            Engine::Other(_) => Err(not_kv(&mount)),
        }
    }
}

#[async_trait]
impl Store for VaultProvider {
    fn validate(&self, target: &SecretRef) -> Result<()> {
        let checked = writable(target).and_then(|found| match is_own(found.path) {
            true => {
                Err(Error::config("check target", "the secret is one that rotations make for themselves"))
            }
            false => Ok(()),
        });
        checked.map_err(|error| self.place(error, target))
    }

    async fn record_of(&self, target: &SecretRef) -> Result<SecretRef> {
        let place = async {
            let found = writable(target)?;
            let mount = self.mount(&found).await?;
            let record = format!("{}/{RECORDS}/{}", mount.path, below(&mount, &found)?);
            target.at(&record)
        };
        place.await.map_err(|error| self.place(error, target))
    }

    async fn acknowledgements_of(&self, target: &SecretRef) -> Result<SecretRef> {
        let place = async {
            let found = writable(target)?;
            let mount = self.mount(&found).await?;
            if mount.engine != Engine::Kv2 {
                let reason = "only KV version 2 has versions that replicas could acknowledge";
                return Err(
                    Error::new(ErrorKind::Unsupported, "acknowledge", reason).with("mount", &mount.path)
                );
            }
            target.at(&format!("{}/{ACKNOWLEDGEMENTS}/{}", mount.path, below(&mount, &found)?))
        };
        place.await.map_err(|error| self.place(error, target))
    }

    async fn look(&self, place: &SecretRef) -> Result<Document> {
        self.look_at(place).await.map_err(|error| self.place(error, place))
    }

    async fn write(
        &self,
        place: &SecretRef,
        fields: &Fields,
        expected: &Revision,
        _token: &str,
    ) -> Result<Revision> {
        self.write_at(place, fields, expected).await.map_err(|error| self.place(error, place))
    }
}

/// Where the records of a mount are.
const RECORDS: &str = "keywheel/rotation";
/// Where replicas say which versions they use.
const ACKNOWLEDGEMENTS: &str = "keywheel/acknowledged";

/// Tells whether a path is one of those; where its mount ends is not known before the server is asked.
fn is_own(path: &str) -> bool {
    [RECORDS, ACKNOWLEDGEMENTS].iter().any(|folder| path.contains(&format!("/{folder}/")))
}

fn writable(reference: &SecretRef) -> Result<Target<'_>> {
    let target = Target::of(reference)?;
    match target.way {
        Way::Read { version: None, .. } => Ok(target),
        _ => {
            let reason = "what is published there is a plain path of KV, without parameters other than `kv`";
            Err(Error::config("check target", reason))
        }
    }
}

fn not_kv(mount: &Mount) -> Error {
    let reason = "what is mounted there is no KV: nothing can be published";
    Error::config("check target", reason).with("mount", &mount.path)
}

fn conflict(path: &str) -> Error {
    Error::new(ErrorKind::Conflict, "write", "the secret is another one by now").with("path", path)
}

/// Names the state of a secret without versions, the same for every process.
fn revision1(fields: Option<&Fields>) -> Result<Revision> {
    match fields {
        Some(fields) => Ok(Revision::new(digest(&body(&exposed(fields))?))),
        None => Ok(Revision::new("none")),
    }
}

async fn look2(session: &Session, mount: &Mount, path: &str) -> Result<Document> {
    let request = ReadSecretRequest { mount: mount.path.clone(), path: path.to_owned(), version: None };
    let answer = session.ask("read", &request).await?;
    let is_missing = answer.status == 404;
    if answer.status != 200 && !is_missing {
        return Err(kv::refused(session, &answer, &format!("{}/data/{path}", mount.path)));
    }
    match answer.parse::<Outer<Answer2>>() {
        // A deleted version still counts.
        Ok(Outer { data: Answer2 { data: fields, metadata } }) => Ok(Document {
            fields,
            revision: Revision::new(metadata.version),
            written_at: metadata.created_time.parse::<Timestamp>().ok(),
        }),
        Err(_) if is_missing => Ok(Document { fields: None, revision: Revision::new(0), written_at: None }),
        Err(error) => Err(error),
    }
}

async fn write2(
    session: &Session,
    mount: &Mount,
    path: &str,
    fields: &Fields,
    expected: &Revision,
) -> Result<Revision> {
    let cas = expected.as_str().parse().map_err(|_| conflict(path))?;
    let body = body(&Write2 { data: exposed(fields), options: CheckAndSet { cas } })?;
    let path = format!("{}/data/{path}", mount.path);
    let answer = session.ask("write", &Logical::write_body(&path, body)).await?;
    match answer.status {
        200 => Ok(Revision::new(answer.parse::<Outer<VersionMetadata>>()?.data.version)),
        400 if answer.says("check-and-set") => Err(conflict(&path)),
        _ => Err(not_written(session, &answer, &path)),
    }
}

async fn write1(session: &Session, mount: &Mount, path: &str, fields: &Fields) -> Result<()> {
    let path = format!("{}/{path}", mount.path);
    let answer = session.ask("write", &Logical::write_body(&path, body(&exposed(fields))?)).await?;
    match answer.status {
        200 | 204 => Ok(()),
        _ => Err(not_written(session, &answer, &path)),
    }
}

fn exposed(fields: &Fields) -> BTreeMap<&str, Exposed<'_>> {
    fields.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

fn body(content: &impl Serialize) -> Result<Zeroizing<Vec<u8>>> {
    serde_json::to_vec(content)
        .map(Zeroizing::new)
        .map_err(|_| Error::new(ErrorKind::Invalid, "write", "a field holds bytes that JSON cannot"))
}

fn not_written(session: &Session, answer: &Answer, policy_path: &str) -> Error {
    let error = error::refused(answer);
    match error.kind() {
        ErrorKind::PermissionDenied => error.with_help(format!(
            "the policy must allow `create` and `update` on {policy_path}{}",
            session.doubt()
        )),
        _ => error,
    }
}

#[derive(Serialize)]
struct Write2<'a> {
    data: BTreeMap<&'a str, Exposed<'a>>,
    options: CheckAndSet,
}

#[derive(Serialize)]
struct CheckAndSet {
    cas: u64,
}
