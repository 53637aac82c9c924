//! The volumes of an injected pod, and who sees which of them where.

use serde_json::{Value, json};

use super::names;
use super::plan::{Plan, Shape};
use super::settings::Settings;
use super::wishes::Wishes;

/// Who sees volumes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sight {
    /// A container of Keywheel's: all of them, and writes secrets.
    Sidecar,
    /// The application: the secrets, and does not write.
    Application,
    /// The application as the child of Keywheel, in one container.
    Wrapped,
}

/// Makes the volumes. Secrets and state are in memory alone, and bounded.
pub(super) fn make(plan: &Plan, wishes: &Wishes, settings: &Settings) -> Vec<Value> {
    let size = wishes.placement.volume_size.as_deref().unwrap_or(SECRETS_SIZE);
    let memory =
        |name: String, size: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}});
    let mut volumes: Vec<Value> =
        (0..plan.directories.len()).map(|number| memory(secrets(number), size)).collect();
    if plan.has_state {
        volumes.push(memory(names::STATE.into(), STATE_SIZE));
    }
    volumes.push(token(wishes, settings));
    volumes.push(config(plan, wishes));
    if plan.shape == Shape::Run {
        volumes.push(json!({"name": names::PROGRAM, "emptyDir": {"sizeLimit": PROGRAM_SIZE}}));
    }
    volumes
}

/// Makes what `sight` sees.
pub(super) fn mounts(plan: &Plan, sight: Sight) -> Vec<Value> {
    let mount = |name: &str, path: &str, is_written: bool| match is_written {
        true => json!({"name": name, "mountPath": path}),
        false => json!({"name": name, "mountPath": path, "readOnly": true}),
    };
    let is_written = sight != Sight::Application;
    let directories = plan.directories.iter().enumerate();
    let mut mounts: Vec<Value> =
        directories.map(|(number, path)| mount(&secrets(number), path, is_written)).collect();
    if sight == Sight::Application {
        return mounts;
    }
    if plan.has_state {
        mounts.push(mount(names::STATE, names::STATE_PATH, true));
    }
    mounts.push(mount(names::TOKEN, names::TOKEN_PATH, false));
    mounts.push(mount(names::CONFIG, names::CONFIG_PATH, false));
    if sight == Sight::Wrapped {
        mounts.push(mount(names::PROGRAM, names::PROGRAM_PATH, false));
    }
    mounts
}

/// A token of the pod's own service account, for nobody but the secrets' source, and not for long.
fn token(wishes: &Wishes, settings: &Settings) -> Value {
    let audience = wishes.token.audience.as_ref().unwrap_or(&settings.token_audience);
    let ttl = wishes.token.ttl.unwrap_or(settings.token_ttl);
    let token = json!({"audience": audience, "expirationSeconds": ttl.as_secs(), "path": "token"});
    json!({"name": names::TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}})
}

/// The configuration: a ConfigMap, or what the annotations became, with the authority of the secrets' source beside it.
fn config(plan: &Plan, wishes: &Wishes) -> Value {
    let optional = plan.waits_for_config;
    let mut sources = vec![match &wishes.config_map {
        Some(name) => json!({"configMap": {"name": name, "optional": optional}}),
        None => {
            let field = json!({"apiVersion": "v1", "fieldPath": format!("metadata.annotations['{}']", names::GENERATED)});
            json!({"downwardAPI": {"items": [{"path": "keywheel.yaml", "fieldRef": field}]}})
        }
    }];
    if let Some(name) = &wishes.inline.login.ca_config_map {
        let items = json!([{"key": "ca.crt", "path": "ca.crt"}]);
        sources.push(json!({"configMap": {"name": name, "items": items, "optional": optional}}));
    }
    json!({"name": names::CONFIG, "projected": {"sources": sources}})
}

fn secrets(number: usize) -> String {
    if number == 0 { names::SECRETS.into() } else { format!("{}-{}", names::SECRETS, number + 1) }
}

const SECRETS_SIZE: &str = "16Mi";
const STATE_SIZE: &str = "4Mi";
/// Room also for a program of a developer's build.
const PROGRAM_SIZE: &str = "128Mi";
