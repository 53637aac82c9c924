//! Reads a schedule as `keywheel rotate` reads its file, so that both mean the same, and refuses what a namespace must not have of the controller.
//!
//! A schedule is somebody else's input. It names servers, and who to be there; it never gets at files, programs, variables or credentials of the controller's
//! own: the kinds and strategies that would are not known here, and what is read is looked through for files once more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::Clock;
use keywheel_core::config::{Config, Mistake, ProviderConfig};
use keywheel_core::environment::Environment;
use keywheel_core::identity::TokenIssuer;
use keywheel_core::registry::Registry;
use keywheel_core::rotation::{RotationConfig, Rotator};
use keywheel_core::{Client, SecretRef, State};
use serde_json::{Map, Value, json};

use super::resource::{Provider, RotationSchedule, Timing};

/// What schedules may ask for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowed {
    /// The addresses of providers; any, where there is none.
    pub addresses: Vec<String>,
    /// The shortest time from one rotation to the next, whatever a schedule says.
    pub shortest_interval: Duration,
}

/// A schedule that can be kept.
#[derive(Debug)]
pub struct Planned {
    provider: ProviderConfig,
    rotation: RotationConfig,
}

impl Planned {
    /// Reads a schedule, whose logins ask `issuer` for tokens.
    ///
    /// # Errors
    /// Every mistake, in a line each.
    pub fn read(
        schedule: &RotationSchedule,
        issuer: Arc<dyn TokenIssuer>,
        allowed: &Allowed,
    ) -> Result<Self, String> {
        let written = write(schedule);
        let parsed = Config::parse(Path::new("schedule"), &written, &kinds(issuer), &Environment::default());
        let mut config = parsed.map_err(|error| lines(error.mistakes().iter().map(said)))?;
        let (Some(provider), Some(mut rotation)) = (config.providers.remove(VAULT), config.rotations.pop())
        else {
            return Err("the schedule was not read".into());
        };
        rotation.timing = rotation.timing.at_most_every(allowed.shortest_interval);
        let mistakes = refused(schedule, &config, &provider, &rotation, allowed);
        match mistakes.is_empty() {
            true => Ok(Self { provider, rotation }),
            false => Err(lines(mistakes.into_iter())),
        }
    }

    /// Builds the rotator, and the client that it asks with; asks no server.
    ///
    /// # Errors
    /// What cannot be built: certificates that are none, say.
    pub fn build(self, clock: &Clock) -> keywheel_core::Result<(Client, Rotator)> {
        let providers = [(VAULT.to_owned(), self.provider)].into();
        let client = Client::build(&providers, clock, &State::in_memory())?;
        let rotator = Rotator::build(self.rotation, &client, clock)?;
        Ok((client, rotator))
    }
}

/// Returns the name of a schedule's rotation: in the audit, it tells which schedule it is of the whole cluster.
pub fn name(schedule: &RotationSchedule) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}.{}", text(&schedule.metadata.namespace), text(&schedule.metadata.name))
}

/// The kinds that touch nothing of this process's: no files, no variables, no programs, no credentials of its own.
fn kinds(issuer: Arc<dyn TokenIssuer>) -> Registry {
    let kinds = Registry::default();
    #[cfg(feature = "vault")]
    let kinds = {
        use keywheel_providers::strategies::{vault_approle_secret_id, vault_database, vault_transit_key};
        let kind = keywheel_providers::vault::VaultKind::new(Environment::default()).with_issuer(issuer);
        kinds
            .with(kind)
            .with_strategy(vault_approle_secret_id::VaultAppRoleSecretIdStrategy)
            .with_strategy(vault_database::VaultDatabaseStrategy)
            .with_strategy(vault_transit_key::VaultTransitKeyStrategy)
    };
    #[cfg(not(feature = "vault"))]
    drop(issuer);
    #[cfg(feature = "mysql")]
    let kinds = kinds.with_strategy(keywheel_providers::strategies::mysql::MysqlStrategy);
    #[cfg(feature = "postgres")]
    let kinds = kinds.with_strategy(keywheel_providers::strategies::postgres::PostgresStrategy);
    #[cfg(feature = "random")]
    let kinds = kinds.with_strategy(keywheel_providers::strategies::random::RandomStrategy);
    kinds
}

/// Writes the configuration that `keywheel rotate` would be given. It is JSON, which is YAML: whatever a value holds, it stays one value.
fn write(schedule: &RotationSchedule) -> String {
    let spec = &schedule.spec;
    let mut rotation = json!({
        "name": name(schedule),
        "target": spec.target,
        "schedule": timing(&spec.schedule),
        "strategy": spec.strategy,
        "record": spec.record,
        "overlap": spec.overlap,
        "acknowledge": spec.acknowledge,
    });
    if !spec.fields.is_empty() {
        rotation["fields"] = json!(spec.fields);
    }
    json!({"providers": {VAULT: provider(&spec.provider)}, "rotations": [rotation]}).to_string()
}

fn timing(timing: &Timing) -> Value {
    let Timing { cron, every, time_zone, window, jitter, max_age, paused, blackout } = timing;
    let mut written = json!({
        "cron": cron, "every": every, "time_zone": time_zone, "window": window, "jitter": jitter, "max_age": max_age, "paused": paused,
    });
    if !blackout.is_empty() {
        written["blackout"] = json!(blackout);
    }
    written
}

fn provider(provider: &Provider) -> Value {
    let Provider { address, namespace, ca_pem, server_name, auth } = provider;
    let mut login =
        Map::from_iter([("method".into(), json!(auth.method)), ("role".into(), json!(auth.role))]);
    if let Some(mount) = &auth.mount {
        login.insert("mount".into(), json!(mount));
    }
    json!({
        "kind": VAULT, "address": address, "namespace": namespace, "ca_pem": ca_pem, "server_name": server_name, "auth": login,
    })
}

/// Says what the configuration's reader has nothing against, and the controller has.
fn refused(
    schedule: &RotationSchedule,
    rest: &Config,
    provider: &ProviderConfig,
    rotation: &RotationConfig,
    allowed: &Allowed,
) -> Vec<String> {
    let mut mistakes = Vec::new();
    let address = &schedule.spec.provider.address;
    if !allowed.addresses.is_empty() && !allowed.addresses.contains(address) {
        let known = allowed.addresses.join(", ");
        mistakes.push(format!("spec.provider.address: the controller asks none but {known}"));
    }
    if address.starts_with("http://") && !allowed.addresses.contains(address) {
        mistakes.push("spec.provider.address: is http://, which shows the account's token to whoever listens; it is asked where the controller's --provider-address names it".into());
    }
    for name in rest.providers.keys() {
        mistakes.push(format!("spec: a reference names `{name}`; a schedule has one provider, {VAULT:?}"));
    }
    let references: Vec<&SecretRef> = rotation.references().collect();
    let needs = provider.blueprint.needs(&references);
    let files = needs.files.iter().chain(&needs.trees).map(|file| file.as_path());
    for file in files.chain(rotation.plan.files()) {
        mistakes.push(format!("spec: names the file {}; a schedule has none", file.display()));
    }
    mistakes
}

/// Says a mistake with its place in the resource.
fn said(mistake: &Mistake) -> String {
    let setting = mistake.setting.replace("rotations[0]", "spec").replace("providers.vault", "spec.provider");
    let setting = RENAMED.iter().fold(setting, |setting, (ours, theirs)| setting.replace(ours, theirs));
    format!("{setting}: {}", mistake.message)
}

fn lines(mistakes: impl Iterator<Item = String>) -> String {
    mistakes.collect::<Vec<_>>().join("\n")
}

/// The one provider of a schedule, by its kind's name.
const VAULT: &str = "vault";
/// What is spelled another way in the cluster.
const RENAMED: [(&str, &str); 4] = [
    ("provider.ca_pem", "provider.caPem"),
    ("schedule.time_zone", "schedule.timeZone"),
    ("schedule.max_age", "schedule.maxAge"),
    ("server_name", "serverName"),
];

#[cfg(test)]
mod tests;
