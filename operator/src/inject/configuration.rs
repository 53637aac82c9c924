//! Turns inline annotations into a configuration.
//!
//! It is written as JSON, which is YAML: whatever a value holds, it stays one value, and can begin no other setting. Then it is read by the parser that the
//! sidecar reads it with, so that what the sidecar would refuse is refused before there is a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use keywheel_core::SecretRef;
use keywheel_core::config::{Config, format_duration};
use keywheel_core::environment::Environment;
use keywheel_core::registry::Registry;
use serde_json::{Map, Value, json};

use super::names;
use super::plan::{Plan, Shape};
use super::settings::Settings;
use super::wishes::{Entry, Inline, Login};

/// Returns the kinds of providers that a configuration may name, without any settings of this process's.
pub(super) fn kinds() -> Registry {
    #[cfg(any(feature = "aws", feature = "aws-ssm", feature = "vault"))]
    let nothing = Environment::default();
    let kinds = Registry::default();
    #[cfg(feature = "aws")]
    let kinds = kinds.with(keywheel_providers::aws::AwsKind::new(nothing.clone()));
    #[cfg(feature = "aws-ssm")]
    let kinds = kinds.with(keywheel_providers::aws::ssm::SsmKind::new(nothing.clone()));
    #[cfg(feature = "env")]
    let kinds = kinds.with(keywheel_providers::env::EnvKind::default());
    #[cfg(feature = "file")]
    let kinds = kinds.with(keywheel_providers::file::FileKind);
    #[cfg(feature = "vault")]
    let kinds = kinds.with(keywheel_providers::vault::VaultKind::new(nothing));
    kinds
}

/// Writes the configuration.
///
/// # Errors
/// Every mistake.
pub(super) fn write(
    inline: &Inline,
    plan: &Plan,
    settings: &Settings,
    kinds: &Registry,
) -> Result<String, Vec<String>> {
    let secrets = secrets(inline).map_err(|mistake| vec![mistake])?;
    let mut configuration = json!({
        "providers": providers(&inline.login, &secrets, settings).map_err(|mistake| vec![mistake])?,
        "deliveries": deliveries(inline, plan, &secrets),
    });
    if plan.shape != Shape::Once {
        configuration["state_directory"] = names::STATE_DIRECTORY.into();
        configuration["admin"] = json!({"listen": names::ADMIN});
    }
    if let Some(revoke) = inline.revoke_on_shutdown {
        configuration["revoke_on_shutdown"] = revoke.into();
    }
    // A mapping of texts, numbers and lists: there is nothing in it that JSON cannot hold.
    let text = format!("{configuration:#}\n");
    if text.len() > MAX_BYTES {
        return Err(vec![TOO_LONG.into()]);
    }
    check(&text, kinds)?;
    Ok(text)
}

/// Reads the configuration as the sidecar will.
fn check(text: &str, kinds: &Registry) -> Result<(), Vec<String>> {
    let parsed = Config::parse(Path::new(names::CONFIG_FILE), text, kinds, &Environment::default());
    let mistakes = parsed.err().map(|error| error.mistakes().to_vec()).unwrap_or_default();
    match mistakes.is_empty() {
        true => Ok(()),
        false => {
            Err(mistakes.iter().map(|mistake| format!("{}: {}", mistake.setting, mistake.message)).collect())
        }
    }
}

/// Every secret by its variable.
type Secrets = BTreeMap<String, Value>;

fn secrets(inline: &Inline) -> Result<Secrets, String> {
    let mut secrets = Secrets::new();
    let mut add = |name: &str, variable: String, secret: Value| match secrets.get(&variable) {
        Some(other) if *other != secret => {
            Err(format!("two NAMEs are `{variable}` in templates; call `{name}` by another name"))
        }
        _ => {
            secrets.insert(variable, secret);
            Ok(())
        }
    };
    for (name, entry) in &inline.entries {
        if let Some(reference) = &entry.reference {
            let mut secret = json!({"ref": literal(reference)});
            for (key, span) in [("refresh", entry.refresh), ("max_stale", entry.max_stale)] {
                if let Some(span) = span {
                    secret[key] = format_duration(span).into();
                }
            }
            let secret = if secret.as_object().is_some_and(|keys| keys.len() == 1) {
                secret["ref"].take()
            } else {
                secret
            };
            add(name, Entry::variable(name), secret)?;
        }
        for (variable, reference) in &entry.beside {
            add(name, variable.clone(), literal(reference))?;
        }
    }
    Ok(secrets)
}

/// Makes the providers that the secrets need settings for: those that are Vault or OpenBao by their name.
fn providers(login: &Login, secrets: &Secrets, settings: &Settings) -> Result<Value, String> {
    let reference = |secret: &Value| {
        let text = secret.as_str().or_else(|| secret["ref"].as_str()).unwrap_or_default();
        text.parse::<SecretRef>().ok().map(|reference| reference.provider().to_owned())
    };
    let named: BTreeSet<String> =
        secrets.values().filter_map(reference).filter(|name| VAULT.contains(&name.as_str())).collect();
    if named.is_empty() {
        return Ok(json!({}));
    }
    let address = login.address.as_ref().or(settings.provider_address.as_ref());
    let address = address.ok_or("set keywheel.dev/provider-address, as in https://vault.company.com")?;
    let role = login
        .role
        .as_ref()
        .ok_or("set keywheel.dev/role to the role that the pod's service account logs in with")?;
    let method = login.method.as_deref().unwrap_or("kubernetes");
    let mount = login.mount.as_deref().unwrap_or(method);
    let auth = json!({"method": method, "mount": literal(mount), "role": literal(role), "token_file": names::TOKEN_FILE});
    let mut provider = json!({"kind": "vault", "address": literal(address), "auth": auth});
    if let Some(namespace) = &login.namespace {
        provider["namespace"] = literal(namespace);
    }
    if login.ca_config_map.is_some() {
        provider["ca_file"] = names::CA_FILE.into();
    }
    Ok(named.into_iter().map(|name| (name, provider.clone())).collect::<Map<_, _>>().into())
}

/// Makes a delivery for each directory.
fn deliveries(inline: &Inline, plan: &Plan, secrets: &Secrets) -> Value {
    let mut on_change: Vec<Value> = match plan.shape {
        Shape::Once => Vec::new(),
        _ => inline.on_change.values().map(literal_value).collect(),
    };
    if plan.shape == Shape::Run {
        let commands: BTreeSet<&String> = inline.commands.values().collect();
        on_change.extend(
            commands.into_iter().map(|line| json!({"exec": {"command": ["/bin/sh", "-c", literal(line)]}})),
        );
    }
    let delivery = |(number, directory): (usize, &String)| {
        let is_here = |entry: &Entry| match &entry.directory {
            Some(own) => own == directory,
            None => number == 0,
        };
        let entries: Vec<_> = inline.entries.iter().filter(|(_, entry)| is_here(entry)).collect();
        let files: Vec<Value> =
            entries.iter().map(|(name, entry)| file(name, entry, plan, secrets)).collect();
        let used: BTreeSet<&str> =
            files.iter().filter_map(|file| file["value"].as_str()).flat_map(words).collect();
        let own: Map<_, _> = secrets
            .iter()
            .filter(|(variable, _)| used.contains(variable.as_str()))
            .map(|(variable, secret)| (variable.clone(), secret.clone()))
            .collect();
        let mut delivery =
            json!({"name": name(number), "directory": directory, "secrets": own, "files": files});
        if !on_change.is_empty() {
            delivery["on_change"] = on_change.clone().into();
        }
        if let Some(verify) = &inline.verify {
            delivery["verify"] = literal_value(verify);
        }
        if let Some(overlap) = inline.overlap {
            delivery["overlap"] = format_duration(overlap).into();
        }
        delivery
    };
    plan.directories.iter().enumerate().map(delivery).collect()
}

/// Makes the file of one NAME: of its template, else of the field that its reference names, else of all fields, as JSON.
fn file(name: &str, entry: &Entry, plan: &Plan, secrets: &Secrets) -> Value {
    let variable = Entry::variable(name);
    let has_field = || {
        let secret = secrets.get(&variable);
        let reference = secret.and_then(|secret| secret.as_str().or_else(|| secret["ref"].as_str()));
        let parsed = reference.and_then(|reference| reference.parse::<SecretRef>().ok());
        parsed.is_some_and(|reference| reference.field().is_some())
    };
    let template = match &entry.template {
        Some(template) => literal(template),
        None if has_field() => format!("{{{{ {variable} }}}}").into(),
        None => format!("{{{{ {variable} | json }}}}").into(),
    };
    let path = entry.file.as_deref().unwrap_or(name);
    json!({"path": literal(path), "value": template, "mode": entry.mode.as_deref().unwrap_or(plan.user.file_mode)})
}

fn name(number: usize) -> String {
    if number == 0 { "secrets".into() } else { format!("secrets-{}", number + 1) }
}

/// Returns the words of a template, any of which may be a variable. What is in no tag counts as well: a secret too many is read rather than one too few.
fn words(template: &str) -> impl Iterator<Item = &str> {
    template.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Writes a text so that it is taken as it is: a configuration fills in variables.
fn literal(text: impl AsRef<str>) -> Value {
    text.as_ref().replace("${", "$${").into()
}

fn literal_value(value: &Value) -> Value {
    match value {
        Value::String(text) => literal(text),
        Value::Array(items) => items.iter().map(literal_value).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), literal_value(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// The names by which a reference means Vault or OpenBao.
const VAULT: [&str; 2] = ["vault", "bao"];
/// All annotations of an object together may have 256 KiB.
const MAX_BYTES: usize = 128 << 10;
const TOO_LONG: &str = "the annotations make a configuration of more than 128 KiB; put it into a ConfigMap and name that in keywheel.dev/config";
