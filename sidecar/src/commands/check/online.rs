//! `keywheel check --online`: goes every secret's way step by step, and says where it ends and what to do.

use std::collections::BTreeSet;

use keywheel_core::client::Client;
use keywheel_core::config::{Config, DeliveryConfig, format_duration};
use keywheel_core::examine::{Finding, Outcome};
use keywheel_core::provider::Ending;
use keywheel_core::rotation::RotationConfig;
use keywheel_core::{ErrorKind, Result, Secret, SecretRef, Upkeep, deliver};

use super::report::Report;
use crate::exit::Failure;

/// Logs in, reads each secret once, looks at the volumes and at whom the signals are for, and prints each step once it was taken. What it logged in for, and
/// what its reads made, is given back.
///
/// # Errors
/// The first thing that is wrong, by its code; all of them are printed.
pub(super) async fn examine(config: &Config, rotations: &[Rotated], client: &Client) -> Result<(), Failure> {
    let mut report = Report::default();
    let examined = print(config, rotations, client, &mut report).await;
    client.close(Ending::Revoke, Client::CLOSE).await;
    examined.and_then(|()| report.end())
}

async fn print(
    config: &Config,
    rotations: &[Rotated],
    client: &Client,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut unreached = BTreeSet::new();
    for name in config.providers.keys() {
        let findings = client.examine(name).await;
        if findings.iter().any(Finding::is_bad) {
            unreached.insert(name.as_str());
        }
        report.section("provider", name, &findings)?;
    }
    let way = Way { client, unreached };
    for delivery in &config.deliveries {
        report.section("delivery", &delivery.name, &way.of_delivery(delivery).await)?;
    }
    for rotation in rotations {
        report.section("rotation", &rotation.name, &way.of_rotation(rotation).await)?;
    }
    Ok(())
}

/// What a rotation reads: where it publishes its values, if it has any, and what its strategy needs.
pub(super) struct Rotated {
    name: String,
    target: Option<SecretRef>,
    needs: Vec<SecretRef>,
}

impl Rotated {
    pub(super) fn of(rotation: &RotationConfig) -> Self {
        let target = rotation.record.is_none().then(|| rotation.target.clone());
        let needs = rotation.plan.references().into_iter().cloned().collect();
        Self { name: rotation.name.clone(), target, needs }
    }
}

/// The way to the secrets, as far as it goes.
struct Way<'a> {
    client: &'a Client,
    /// The providers that were not reached.
    unreached: BTreeSet<&'a str>,
}

impl Way<'_> {
    async fn of_delivery(&self, delivery: &DeliveryConfig) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, secret) in &delivery.secrets {
            findings.push(self.of_secret(format!("secret {name}"), &secret.reference).await);
        }
        findings.push(Finding::new("directory", deliver::examine(&delivery.settings())));
        let notifiers = delivery.change.on_change.iter().map(|told| &told.notifier);
        findings.extend(notifiers.filter_map(|notifier| Some(Finding::new("signal", notifier.examine()?))));
        findings
    }

    async fn of_rotation(&self, rotation: &Rotated) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(target) = &rotation.target {
            let mut finding = self.of_secret("target".to_owned(), target).await;
            if let Outcome::Bad(error) = &finding.outcome
                && error.kind() == ErrorKind::NotFound
            {
                finding.outcome = Outcome::Good("there is nothing yet".to_owned());
            }
            findings.push(finding);
        }
        for reference in &rotation.needs {
            findings.push(self.of_secret(reference.to_string(), reference).await);
        }
        findings
    }

    async fn of_secret(&self, subject: String, reference: &SecretRef) -> Finding {
        let provider = match self.client.provider(reference) {
            Ok(provider) => provider,
            Err(error) => return Finding::new(subject, Err(error)),
        };
        if self.unreached.contains(reference.provider()) {
            return Finding::left_alone(subject, "its provider was not reached");
        }
        match provider.uses_up(reference) {
            Some(why) => Finding::left_alone(subject, why),
            None => Finding::new(subject, self.read(reference).await),
        }
    }

    async fn read(&self, reference: &SecretRef) -> Result<String> {
        let secret = self.client.read(reference).await?;
        if let Some(field) = reference.field() {
            secret.field(field).map_err(|error| error.with("reference", reference))?;
        }
        Ok(in_words(&secret))
    }
}

/// Says what was read: fields and version, never values.
fn in_words(secret: &Secret) -> String {
    let names: Vec<String> = secret.fields().keys().map(|name| name.escape_debug().to_string()).collect();
    let (noun, names) = (if names.len() == 1 { "field" } else { "fields" }, names.join(", "));
    let kept = match &secret.upkeep {
        Upkeep::Lease(lease) => format!("a lease of {}", format_duration(lease.term.ttl)),
        Upkeep::Expiry { ends_at, .. } => format!("valid until {ends_at}"),
        Upkeep::Poll { .. } | Upkeep::Turn { .. } | Upkeep::Once => {
            format!("version {}", secret.version().as_str().escape_debug())
        }
    };
    format!("{noun} {names}; {kept}")
}
