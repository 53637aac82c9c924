//! The entries under `providers:`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::section::{Item, Section, Setting};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::layer::BudgetLimits;
use crate::reference::{SecretRef, is_provider_name};
use crate::registry::{Blueprint, Registry};

/// The settings of one provider: those that every kind has, and its own.
#[derive(Debug)]
pub struct ProviderConfig {
    /// What the provider is built from.
    pub blueprint: Box<dyn Blueprint>,
    /// How many requests it may send.
    pub budget: BudgetLimits,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether what was logged in for, and the leases made with it, are given back when the program ends; if left out, what the whole
    /// configuration says.
    pub revoke_on_shutdown: Option<bool>,
}

impl ProviderConfig {
    /// How long one request may take when nothing is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Takes a kind's settings with the defaults of the rest.
    pub fn new(blueprint: Box<dyn Blueprint>) -> Self {
        Self {
            blueprint,
            budget: BudgetLimits::default(),
            timeout: Self::DEFAULT_TIMEOUT,
            revoke_on_shutdown: None,
        }
    }
}

/// Adds the provider that `reference` names by its kind, with settings from `environment`, unless it is configured already.
///
/// # Errors
/// A name that is neither configured nor a kind's (the message names the known ones), or a variable that makes no sense.
pub fn add_from_environment(
    providers: &mut BTreeMap<String, ProviderConfig>,
    reference: &SecretRef,
    registry: &Registry,
    environment: &Environment,
) -> Result<()> {
    let name = reference.provider();
    if providers.contains_key(name) {
        return Ok(());
    }
    let kind = registry.kind(name).map_err(|_| {
        let known: BTreeSet<&str> = providers.keys().map(String::as_str).chain(registry.names()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let reason = format!("there is no provider {name:?}; known: {}", known.join(", "));
        // Of the reference no more is said: it may be somebody's URL with a password in it.
        Error::config("find provider", reason)
    })?;
    let blueprint = kind.configure_from(environment)?;
    providers.insert(name.into(), ProviderConfig::new(blueprint));
    Ok(())
}

pub(super) fn read(providers: Section<'_>, registry: &Registry) -> BTreeMap<String, ProviderConfig> {
    providers
        .named()
        .into_iter()
        .filter_map(|(name, item)| Some((name.into(), read_one(name, &item, registry)?)))
        .collect()
}

pub(super) fn read_one(name: &str, item: &Item<'_>, registry: &Registry) -> Option<ProviderConfig> {
    if !is_provider_name(name) {
        item.mistake(
            "a provider's name has lower-case letters, digits, `-` and `_`, and begins with a letter",
        );
    }
    let mut section = item.section()?;
    let kind: String = section.required("kind")?;
    let kind = registry.kind(&kind).map_err(|error| section.mistake(error.reason())).ok()?;
    let budget = section.optional("budget");
    let timeout: Option<Duration> = section.optional("timeout");
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        section.mistake("`timeout` must be longer than nothing");
    }
    let revoke_on_shutdown = section.optional("revoke_on_shutdown");
    let blueprint = kind.configure(&mut section);
    section.finish();
    Some(ProviderConfig {
        blueprint: blueprint?,
        budget: budget.unwrap_or_default(),
        timeout: timeout.unwrap_or(ProviderConfig::DEFAULT_TIMEOUT),
        revoke_on_shutdown,
    })
}

impl Setting for BudgetLimits {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let Some(mut section) = value.section() else {
            return Ok(Self::default());
        };
        let default = Self::default();
        let requests_per_second =
            section.optional("requests_per_second").unwrap_or(default.requests_per_second);
        let burst = section.optional("burst").unwrap_or(default.burst);
        let mints_per_hour = section.optional("mints_per_hour").unwrap_or(default.mints_per_hour);
        section.finish();
        if requests_per_second < 0.01 || burst == 0 || mints_per_hour == 0 {
            return Err(
                "needs at least 0.01 requests_per_second, a burst of 1 and 1 of mints_per_hour".into()
            );
        }
        Ok(Self { requests_per_second, burst, mints_per_hour })
    }
}
