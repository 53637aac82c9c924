//! The provider: a reference becomes a secret's id and a version, and these a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use keywheel_core::examine::Finding;
use keywheel_core::registry::Context;
use keywheel_core::rotation::Store;
use keywheel_core::{Error, ErrorKind, Provider, Result, Secret, SecretRef, Version};
use tokio::sync::OnceCell;
use tracing::warn;

use super::account::Account;
use super::ferry::{FIRST, Ferry, POLL};
use super::read::{self, AT_ONCE, Fetched};
use super::rotate;
use super::settings::Settings;
use super::target::{Form, Target, Wanted, looks_whole};

/// Reads secrets of one region, as one identity.
pub(super) struct AwsProvider {
    name: String,
    account: Account,
    client: OnceCell<Client>,
    ferry: Ferry<Fetched>,
    /// The ids that somebody was warned of.
    doubtful: Mutex<BTreeSet<String>>,
}

impl AwsProvider {
    /// Makes the provider; asks nobody, and reads nothing.
    pub(super) fn new(settings: Settings, context: &Context) -> Self {
        Self {
            name: context.name.clone(),
            account: Account::new(settings, context),
            client: OnceCell::new(),
            ferry: Ferry::new(AT_ONCE, "secretsmanager:BatchGetSecretValue", context.clock.clone()),
            doubtful: Mutex::default(),
        }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn target<'a>(&self, reference: &'a SecretRef) -> Result<Target<'a>> {
        Target::of(reference, self.account.settings().region.as_deref())
    }

    pub(super) async fn client(&self) -> Result<&Client> {
        let make = || async { self.account.config().await.map(Client::new) };
        self.client.get_or_try_init(make).await
    }

    /// Reads what `target` wants, together with what others want within `patience`.
    async fn fetch(&self, target: &Target<'_>, patience: Duration) -> Result<Arc<Fetched>> {
        let client = self.client().await?;
        let one = read::one(&self.account, client, target);
        let answer = match target.version {
            Wanted::Current => {
                let many = |ids| read::many(&self.account, client, ids);
                self.ferry.fetch(target.id, patience, many, one).await
            }
            _ => one.await,
        };
        self.checked(target, answer)
    }

    /// Says what may be wrong with an ARN that ends like a whole one and is not.
    fn checked(&self, target: &Target<'_>, answer: Result<Arc<Fetched>>) -> Result<Arc<Fetched>> {
        match answer {
            Ok(fetched) => {
                let is_other = looks_whole(target.id) && fetched.arn.as_deref().is_some_and(|arn| arn != target.id);
                if is_other && self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).insert(target.id.into()) {
                    warn!(
                        provider = self.name,
                        secret = target.id,
                        "the ARN lacks its last six characters, and the name ends in a hyphen and six: it may be taken for another secret's; write the whole ARN, or the name"
                    );
                }
                Ok(fetched)
            }
            Err(error) if error.kind() == ErrorKind::NotFound && looks_whole(target.id) => Err(error.with_help(
                "an ARN that ends in a hyphen and six characters is taken for a whole one; where these are the name's own, write the whole ARN, or the name",
            )),
            Err(error) => Err(error),
        }
    }

    /// Returns the id of a secret that is meant with all of its versions.
    fn whole<'a>(&self, reference: &'a SecretRef) -> Result<&'a str> {
        let target = self.target(reference)?;
        match target.version {
            Wanted::Current if target.form == Form::AsFound => Ok(target.id),
            _ => {
                let reason = "a rotation is of the secret, and not of one version or of its text: leave `stage`, `version-id` and `text` out";
                Err(Error::config("rotate", reason))
            }
        }
    }

    pub(super) fn place(&self, error: Error, reference: &SecretRef) -> Error {
        self.account.place(error.with("provider", &self.name).with("reference", reference.whole()))
    }
}

#[async_trait]
impl Provider for AwsProvider {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        self.target(reference).map(drop).map_err(|error| self.place(error, reference))
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        let read = async {
            let target = self.target(reference)?;
            self.fetch(&target, FIRST).await?.secret(target.form)
        };
        read.await.map_err(|error| self.place(error, reference))
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        let read = async {
            let target = self.target(reference)?;
            if matches!(target.version, Wanted::Id(id) if id == known.as_str()) {
                return Ok(None);
            }
            let fetched = self.fetch(&target, POLL).await?;
            if fetched.version == *known { Ok(None) } else { fetched.secret(target.form).map(Some) }
        };
        read.await.map_err(|error| self.place(error, reference))
    }

    /// All current versions are asked for together.
    fn group(&self, reference: &SecretRef) -> Option<String> {
        let target = self.target(reference).ok()?;
        let is_carried = target.version == Wanted::Current && self.ferry.is_open();
        is_carried.then(|| format!("aws {}", self.name))
    }

    async fn rotated(&self, reference: &SecretRef) -> Result<(Version, Option<Timestamp>)> {
        let rotated = async {
            let id = self.whole(reference)?;
            rotate::rotated(&self.account, self.client().await?, id).await
        };
        rotated.await.map_err(|error| self.place(error, reference))
    }

    async fn rotate(&self, reference: &SecretRef, token: &str) -> Result<Version> {
        let rotate = async {
            let id = self.whole(reference)?;
            rotate::rotate(&self.account, self.client().await?, id, token).await
        };
        rotate.await.map_err(|error| self.place(error, reference))
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }

    fn realm(&self) -> String {
        self.account.settings().realm()
    }

    async fn examine(&self) -> Vec<Finding> {
        self.account.examine().await
    }

    async fn maintain(&self) {
        self.account.maintain().await;
    }
}

impl fmt::Debug for AwsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the SDK's: its clients show more than anybody could check.
        f.debug_struct("AwsProvider").field("account", &self.account).finish_non_exhaustive()
    }
}
