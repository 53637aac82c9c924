//! Which version of a secret has which labels.

use std::collections::HashMap;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use keywheel_core::Result;

use super::account::Account;

/// Which version has which labels.
pub(super) struct Stages<'a>(Option<&'a HashMap<String, Vec<String>>>);

impl<'a> Stages<'a> {
    pub(super) fn of(secret: &'a DescribeSecretOutput) -> Self {
        Self(secret.version_ids_to_stages())
    }

    pub(super) fn has(&self, version: &str, label: &str) -> bool {
        self.0
            .and_then(|stages| stages.get(version))
            .is_some_and(|labels| labels.iter().any(|has| has == label))
    }

    pub(super) fn holder(&self, label: &str) -> Option<&'a str> {
        let (version, _) = self.0?.iter().find(|(_, labels)| labels.iter().any(|has| has == label))?;
        Some(version)
    }

    /// Returns the version that a rotation is at, or was left at.
    pub(super) fn pending(&self) -> Option<&'a str> {
        self.holder(PENDING).filter(|version| !self.has(version, CURRENT))
    }
}

/// Asks which versions the secret `id` has.
pub(super) async fn describe(
    operation: &'static str,
    account: &Account,
    client: &Client,
    id: &str,
) -> Result<DescribeSecretOutput> {
    let call = client.describe_secret().secret_id(id);
    account.ask(operation, || Box::pin(call.clone().send())).await
}

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PENDING: &str = "AWSPENDING";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
