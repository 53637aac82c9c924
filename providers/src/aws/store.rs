//! Publishes in Secrets Manager: a new version is put beside the current one, and the label `AWSCURRENT` moves to it from the one that it is to follow.
//!
//! ```text
//!            PutSecretValue       UpdateSecretVersionStage   UpdateSecretVersionStage
//! v1 AWSCURRENT      v1 AWSCURRENT      v1 AWSPREVIOUS             v1 AWSPREVIOUS
//!              ----> v2 AWSPENDING ---> v2 AWSCURRENT, AWSPENDING -> v2 AWSCURRENT
//! ```
//!
//! Secrets Manager moves the label from the version that the call names, and from no other. As long as `AWSPENDING` is on another version, it
//! begins no rotation of its own.
//!
//! A version's id is made of the one that it follows and of the write's token: who writes again makes no second one. Records are written without
//! the token, in one call: of two that follow the same version the second is refused, since a version never changes.

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use keywheel_core::fingerprint::digest;
use keywheel_core::rotation::{Document, Fields, Revision, Store};
use keywheel_core::{Error, ErrorKind, Result, SecretRef, Value};
use tracing::warn;

use super::account::Account;
use super::error::NOT_ALLOWED;
use super::provider::AwsProvider;
use super::read::{self, Fetched};
use super::rotate::still_pending;
use super::stages::{CURRENT, PENDING, Stages, describe};
use super::target::{Form, Target, Wanted};

#[async_trait]
impl Store for AwsProvider {
    fn validate(&self, target: &SecretRef) -> Result<()> {
        let checked = self.writable(target).and_then(|found| match found.id.starts_with(RECORDS) {
            true => {
                Err(Error::config("check target", "the secret is one that rotations make for themselves"))
            }
            false if found.id.starts_with("arn:") => Ok(()),
            false => self.target(&target.at(&format!("{RECORDS}{}", found.id))?).map(drop),
        });
        checked.map_err(|error| self.place(error, target))
    }

    async fn record_of(&self, target: &SecretRef) -> Result<SecretRef> {
        let record = async {
            let found = self.writable(target)?;
            let name = match found.id.starts_with("arn:") {
                true => self.shelf(target).await?.name().await?,
                false => found.id.to_owned(),
            };
            target.at(&format!("{RECORDS}{name}"))
        };
        record.await.map_err(|error| self.place(error, target))
    }

    async fn look(&self, place: &SecretRef) -> Result<Document> {
        let look = async { self.shelf(place).await?.look().await };
        look.await.map_err(|error| self.place(error, place))
    }

    async fn write(
        &self,
        place: &SecretRef,
        fields: &Fields,
        expected: &Revision,
        token: &str,
    ) -> Result<Revision> {
        let write = async {
            let shelf = self.shelf(place).await?;
            match shelf.is_record() {
                true => shelf.write_record(fields, expected).await,
                false => shelf.publish(fields, expected, token).await,
            }
        };
        write.await.map_err(|error| self.place(error, place))
    }
}

impl AwsProvider {
    fn writable<'a>(&self, reference: &'a SecretRef) -> Result<Target<'a>> {
        let target = self.target(reference)?;
        match reference.parameters().is_empty() {
            true => Ok(target),
            false => {
                let reason =
                    "what is published is the secret's current version: leave `stage` and `version-id` out";
                Err(Error::config("check target", reason))
            }
        }
    }

    async fn shelf<'a>(&'a self, place: &'a SecretRef) -> Result<Shelf<'a>> {
        let Target { id, .. } = self.writable(place)?;
        Ok(Shelf { account: self.account(), client: self.client().await?, id })
    }
}

/// One secret, with all of its versions.
struct Shelf<'a> {
    account: &'a Account,
    client: &'a Client,
    id: &'a str,
}

impl Shelf<'_> {
    fn is_record(&self) -> bool {
        self.id.starts_with(RECORDS)
    }

    async fn look(&self) -> Result<Document> {
        let secret = self.describe("read").await?;
        let Some(current) = current(secret.as_ref()) else {
            return Ok(Document { fields: None, revision: revision(None), written_at: None });
        };
        let fetched = self.fetch(current).await?;
        if fetched.is_binary() {
            let reason = "the secret is binary: a rotation replaces texts, and fields of JSON";
            return Err(Error::new(ErrorKind::Unsupported, "read", reason));
        }
        let (fields, written_at) = (fetched.secret(Form::AsFound)?.into_fields(), fetched.created_at);
        Ok(Document { fields: Some(fields), revision: revision(Some(current)), written_at })
    }

    async fn publish(&self, fields: &Fields, expected: &Revision, token: &str) -> Result<Revision> {
        let new = version_id(expected, token);
        let secret = self.describe("write").await?;
        let before = current(secret.as_ref());
        if before == Some(&new) {
            self.settle(&new).await;
            return Ok(Revision::new(new));
        }
        if revision(before) != *expected {
            return Err(conflict());
        }
        let text = self.text(fields, before).await?;
        if secret.is_none() {
            self.create(&new, text, None).await?;
            return Ok(Revision::new(new));
        }
        self.put(&new, text, PENDING).await?;
        let moved = match before {
            Some(before) => self.move_current(before, &new).await,
            // The first version of all is current at once.
            None => Ok(()),
        };
        let is_current = match moved {
            Ok(()) if before.is_some() => true,
            Ok(()) => self.is_current(&new).await?,
            // It was moved already, by a call whose answer was lost, or is elsewhere.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => {
                if self.is_current(before.unwrap_or_default()).await? {
                    return Err(error);
                }
                self.is_current(&new).await?
            }
            Err(error) => return Err(error),
        };
        self.settle(&new).await;
        if is_current { Ok(Revision::new(new)) } else { Err(conflict()) }
    }

    async fn write_record(&self, fields: &Fields, expected: &Revision) -> Result<Revision> {
        let secret = self.describe("write").await?;
        if revision(current(secret.as_ref())) != *expected {
            return Err(conflict());
        }
        let (new, text) = (version_id(expected, ""), json(fields)?);
        match secret {
            None => self.create(&new, text, self.key_of_target().await?).await?,
            Some(_) => self.put(&new, text, CURRENT).await?,
        }
        Ok(Revision::new(new))
    }

    async fn create(&self, version: &str, text: String, key: Option<String>) -> Result<()> {
        if self.id.starts_with("arn:") {
            let reason = "there is no such secret, and an ARN cannot be chosen";
            return Err(Error::new(ErrorKind::NotFound, "write", reason)
                .with_help("write the secret's name, and it is made"));
        }
        let create =
            self.client.create_secret().name(self.id).client_request_token(version).secret_string(text);
        let create = create.set_kms_key_id(key);
        let create = if self.is_record() { create.description(RECORD_IS) } else { create };
        self.allowed("CreateSecret", self.account.ask("write", || Box::pin(create.clone().send())).await)
            .map(drop)
    }

    async fn put(&self, version: &str, text: String, label: &str) -> Result<()> {
        let put = self.client.put_secret_value().secret_id(self.id).client_request_token(version);
        let put = put.secret_string(text).version_stages(label);
        self.allowed("PutSecretValue", self.account.ask("write", || Box::pin(put.clone().send())).await)
            .map(drop)
    }

    async fn move_current(&self, from: &str, to: &str) -> Result<()> {
        let update = self.client.update_secret_version_stage().secret_id(self.id).version_stage(CURRENT);
        let update = update.remove_from_version_id(from).move_to_version_id(to);
        let moved = self.account.ask("write", || Box::pin(update.clone().send())).await;
        self.allowed("UpdateSecretVersionStage", moved).map(drop)
    }

    /// Takes `AWSPENDING` off a version that waits for nothing any more. On the current one it does no harm.
    async fn settle(&self, version: &str) {
        let update = self.client.update_secret_version_stage().secret_id(self.id).version_stage(PENDING);
        let update = update.remove_from_version_id(version);
        match self.account.ask("write", || Box::pin(update.clone().send())).await {
            Ok(_) => {}
            // It is not there.
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => warn!(secret = self.id, version, %error, "AWSPENDING stays on a version"),
        }
    }

    /// Asks for the secret's versions; of one that somebody else rotates, no more than that they do.
    async fn describe(&self, operation: &'static str) -> Result<Option<DescribeSecretOutput>> {
        let described = describe(operation, self.account, self.client, self.id).await;
        let secret = match self.allowed("DescribeSecret", described) {
            Ok(secret) => secret,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if secret.deleted_date.is_some() {
            return Err(Error::new(ErrorKind::Deleted, operation, "the secret is scheduled for deletion")
                .with_help("`aws secretsmanager restore-secret` brings it back"));
        }
        let others = match (self.is_record(), foreign_pending(&secret)) {
            (true, _) => None,
            _ if secret.owning_service.is_some() => Some(
                Error::config(operation, "the secret belongs to another service of AWS, which rotates it")
                    .with_help("`aws secretsmanager rotate-secret` has that service do it"),
            ),
            _ if secret.rotation_enabled == Some(true) => Some(
                Error::config(
                    operation,
                    "Secrets Manager rotates the secret itself: one of both would undo the other",
                )
                .with_help(format!(
                    "turn that off with `aws secretsmanager cancel-rotate-secret --secret-id {}`",
                    self.id
                )),
            ),
            (_, Some(pending)) => Some(still_pending(operation, &secret, self.id, pending)),
            _ => None,
        };
        others.map_or(Ok(Some(secret)), Err)
    }

    async fn name(&self) -> Result<String> {
        let secret = self.describe("read").await?.and_then(|secret| secret.name);
        secret.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "read", "there is no such secret in this region and account")
        })
    }

    async fn is_current(&self, version: &str) -> Result<bool> {
        Ok(current(self.describe("write").await?.as_ref()) == Some(version))
    }

    async fn fetch(&self, version: &str) -> Result<std::sync::Arc<Fetched>> {
        let target = Target { id: self.id, version: Wanted::Id(version), form: Form::AsFound };
        self.allowed("GetSecretValue", read::one(self.account, self.client, &target).await)
    }

    /// Returns the key that the target of a record is encrypted with, so that the record is no easier to read.
    async fn key_of_target(&self) -> Result<Option<String>> {
        let target = Shelf { id: self.id.strip_prefix(RECORDS).unwrap_or(self.id), ..*self };
        Ok(target.describe("write").await?.and_then(|secret| secret.kms_key_id))
    }

    /// Returns what is sent: a JSON object; the text alone where the secret is one.
    async fn text(&self, fields: &Fields, before: Option<&str>) -> Result<String> {
        if let (Some(Value::Bytes(text)), 1, Some(before)) = (fields.get(VALUE), fields.len(), before)
            && let Some(text) = text.expose_text()
            && self.fetch(before).await?.is_one_text()
        {
            return Ok(text.to_owned());
        }
        json(fields)
    }

    /// Says what has to be allowed, where that is what is missing.
    fn allowed<T>(&self, action: &str, answer: Result<T>) -> Result<T> {
        answer.map_err(|error| match error.reason() == NOT_ALLOWED {
            true => error.with_help(format!("allow `secretsmanager:{action}` on the secret {}", self.id)),
            false => error,
        })
    }
}

fn current(secret: Option<&DescribeSecretOutput>) -> Option<&str> {
    Stages::of(secret?).holder(CURRENT)
}

fn revision(current: Option<&str>) -> Revision {
    Revision::new(current.unwrap_or("none"))
}

/// Returns the version that waits for somebody else.
fn foreign_pending(secret: &DescribeSecretOutput) -> Option<&str> {
    Stages::of(secret).pending().filter(|version| !version.starts_with(OURS))
}

/// Names the version that follows `expected`: 41 characters, where 32 to 64 are taken.
fn version_id(expected: &Revision, token: &str) -> String {
    format!("{OURS}{}", digest(format!("{expected} {token}").as_bytes()))
}

fn json(fields: &Fields) -> Result<String> {
    let exposed = fields.iter().map(|(name, value)| (name, value.expose()));
    let text = serde_json::to_string(&exposed.collect::<std::collections::BTreeMap<_, _>>())
        .map_err(|_| Error::new(ErrorKind::Invalid, "write", "a field holds bytes that JSON cannot"))?;
    if text.len() > LARGEST {
        let reason =
            format!("the secret would have {} bytes, and Secrets Manager takes {LARGEST}", text.len());
        return Err(Error::new(ErrorKind::Invalid, "write", reason));
    }
    Ok(text)
}

fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "write", "the secret is another one by now")
}

/// Where the records are.
const RECORDS: &str = "keywheel/rotation/";
const RECORD_IS: &str = "The record of a rotation by Keywheel. It holds the next value before that is published: no reader of the secret needs it.";
const OURS: &str = "keywheel-";
const VALUE: &str = "value";
const LARGEST: usize = 65_536;
