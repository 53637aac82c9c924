//! The provider: a reference becomes a parameter, or a path, and these a secret.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use keywheel_core::examine::Finding;
use keywheel_core::registry::Context;
use keywheel_core::{Error, Provider, Result, Secret, SecretRef, Version};
use tokio::sync::OnceCell;

use super::name::Target;
use super::read::{self, AT_ONCE, Fetched};
use crate::aws::account::Account;
use crate::aws::ferry::{FIRST, Ferry, POLL};
use crate::aws::settings::Settings;

/// Reads parameters of one region, as one identity.
pub(super) struct SsmProvider {
    name: String,
    account: Account,
    client: OnceCell<Client>,
    ferry: Ferry<Fetched>,
}

impl SsmProvider {
    /// Makes the provider; asks nobody, and reads nothing.
    pub(super) fn new(settings: Settings, context: &Context) -> Self {
        Self {
            name: context.name.clone(),
            account: Account::new(settings, context),
            client: OnceCell::new(),
            ferry: Ferry::new(AT_ONCE, "ssm:GetParameters", context.clock.clone()),
        }
    }

    async fn client(&self) -> Result<&Client> {
        let make = || async { self.account.config().await.map(Client::new) };
        self.client.get_or_try_init(make).await
    }

    async fn fetch(&self, id: &str, patience: Duration) -> Result<Arc<Fetched>> {
        let client = self.client().await?;
        let many = |ids| read::many(&self.account, client, ids);
        self.ferry.fetch(id, patience, many, read::one(&self.account, client, id)).await
    }

    fn place(&self, error: Error, reference: &SecretRef) -> Error {
        self.account.place(error.with("provider", &self.name).with("reference", reference.whole()))
    }
}

#[async_trait]
impl Provider for SsmProvider {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        Target::of(reference).map(drop).map_err(|error| self.place(error, reference))
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        let read = async {
            match Target::of(reference)? {
                Target::One { id, form, .. } => self.fetch(&id, FIRST).await?.secret(form),
                Target::Below(path) => read::below(&self.account, self.client().await?, &path).await,
            }
        };
        read.await.map_err(|error| self.place(error, reference))
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        let read = async {
            let secret = match Target::of(reference)? {
                // A version that is named does not change.
                Target::One { version: Some(_), .. } => return Ok(None),
                Target::One { id, form, .. } => {
                    let fetched = self.fetch(&id, POLL).await?;
                    if fetched.version == *known {
                        return Ok(None);
                    }
                    fetched.secret(form)?
                }
                Target::Below(path) => read::below(&self.account, self.client().await?, &path).await?,
            };
            Ok((secret.version() != known).then_some(secret))
        };
        read.await.map_err(|error| self.place(error, reference))
    }

    /// All parameters are asked for together.
    fn group(&self, reference: &SecretRef) -> Option<String> {
        let is_polled = matches!(Target::of(reference), Ok(Target::One { version: None, .. }));
        (is_polled && self.ferry.is_open()).then(|| format!("ssm {}", self.name))
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

impl fmt::Debug for SsmProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the SDK's: its clients show more than anybody could check.
        f.debug_struct("SsmProvider").field("account", &self.account).finish_non_exhaustive()
    }
}
