//! The annotations `keywheel.dev/…`.

use std::time::Duration;

use keywheel_core::config::parse_duration;
use keywheel_core::payload;
use serde_json::Value;

use super::annotations::Annotations;
use super::form;
use super::wishes::{Entry, Inline, Mode, Wishes};

/// Reads what a pod says in Keywheel's own words. It counts where the pod says the same in another's.
pub(super) fn read(annotations: &mut Annotations<'_>, wishes: &mut Wishes) {
    for known in ["inject", "status", "generated-config"] {
        annotations.mentions(known);
    }
    set(&mut wishes.mode, annotations.parsed("mode", mode));
    keep(&mut wishes.config_map, annotations.parsed("config", form::object_name));
    keep(&mut wishes.containers, annotations.parsed("containers", form::names));
    keep(&mut wishes.placement.directory, annotations.parsed("directory", form::directory));
    keep(&mut wishes.placement.volume_size, annotations.parsed("volume-size", form::quantity));
    set(&mut wishes.placement.last, annotations.parsed("init-order", order));
    keep(&mut wishes.user, annotations.parsed("run-as-user", form::user));
    keep(&mut wishes.group, annotations.parsed("run-as-group", form::user));
    keep(&mut wishes.token.audience, annotations.text("token-audience"));
    keep(&mut wishes.token.ttl, annotations.parsed("token-ttl", form::token_ttl));
    keep(&mut wishes.sidecar.image, annotations.parsed("image", form::image));
    keep(&mut wishes.sidecar.log_level, annotations.parsed("log-level", form::log_level));
    for resource in ["requests-cpu", "requests-memory", "limits-cpu", "limits-memory"] {
        let quantity = annotations.parsed(resource, form::quantity);
        wishes.sidecar.resources.extend(quantity.map(|quantity| (resource, quantity)));
    }
    read_inline(annotations, &mut wishes.inline);
}

fn read_inline(annotations: &mut Annotations<'_>, inline: &mut Inline) {
    let login = &mut inline.login;
    keep(&mut login.address, annotations.text("provider-address"));
    keep(&mut login.namespace, annotations.text("namespace"));
    keep(&mut login.ca_config_map, annotations.parsed("ca-config-map", form::object_name));
    keep(&mut login.method, annotations.parsed("auth-method", form::method));
    keep(&mut login.mount, annotations.text("auth-mount"));
    keep(&mut login.role, annotations.text("role"));
    keep(&mut inline.overlap, annotations.parsed("overlap", duration));
    keep(&mut inline.verify, annotations.parsed("verify", mapping));
    keep(&mut inline.revoke_on_shutdown, annotations.truth("revoke-on-shutdown"));
    for (name, notifier) in annotations.named("on-change-") {
        match form::name(name).and_then(|()| mapping(notifier)) {
            Ok(notifier) => drop(inline.on_change.insert(name.into(), notifier)),
            Err(reason) => annotations.mistake(&format!("on-change-{name}"), &reason),
        }
    }
    read_entries(annotations, inline);
}

/// Reads what is said of each NAME.
fn read_entries(annotations: &mut Annotations<'_>, inline: &mut Inline) {
    // What a NAME is comes first: the rest is about one that there is.
    for (prefix, put) in KEYS {
        for (name, value) in annotations.named(prefix) {
            let begins = matches!(prefix, "secret-" | "template-");
            if !begins && !inline.entries.contains_key(name) {
                let reason = format!("there is no secret-{name} and no template-{name}");
                annotations.mistake(&format!("{prefix}{name}"), &reason);
                continue;
            }
            let put = form::name(name)
                .and_then(|()| put(inline.entries.entry(name.into()).or_default(), value.to_owned()));
            if let Err(reason) = put {
                annotations.mistake(&format!("{prefix}{name}"), &reason);
            }
        }
    }
    let is_polled = |entry: &&Entry| entry.refresh.is_some() || entry.max_stale.is_some();
    for (name, entry) in &inline.entries {
        if entry.reference.is_none() && is_polled(&entry) {
            annotations.mistake(&format!("template-{name}"), "`refresh` and `max-stale` go with a `secret`");
        }
    }
}

type Put = fn(&mut Entry, String) -> Result<(), String>;

const KEYS: [(&str, Put); 7] = [
    ("secret-", |entry, value| form::reference(&value).map(|()| entry.reference = Some(value))),
    ("template-", |entry, value| {
        entry.template = Some(value);
        Ok(())
    }),
    ("file-", |entry, value| {
        let path: payload::FilePath =
            value.parse().map_err(|error: payload::FilePathError| error.to_string())?;
        entry.file = Some(path.as_str().to_owned());
        Ok(())
    }),
    ("mode-", |entry, value| form::mode(&value).map(|()| entry.mode = Some(value))),
    ("directory-", |entry, value| form::directory(&value).map(|path| entry.directory = Some(path))),
    ("refresh-", |entry, value| duration(&value).map(|span| entry.refresh = Some(span))),
    ("max-stale-", |entry, value| duration(&value).map(|span| entry.max_stale = Some(span))),
];

fn mode(value: &str) -> Result<Mode, String> {
    match value {
        "agent" => Ok(Mode::Agent),
        "run" => Ok(Mode::Run),
        "once" => Ok(Mode::Once),
        _ => Err("must be agent, run or once".into()),
    }
}

fn order(value: &str) -> Result<bool, String> {
    match value {
        "first" => Ok(false),
        "last" => Ok(true),
        _ => Err("must be first or last".into()),
    }
}

fn duration(value: &str) -> Result<Duration, String> {
    parse_duration(value).map_err(|error| error.to_string())
}

/// Reads a mapping in YAML, as it would stand in a configuration.
fn mapping(value: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {max_aliases: 0, max_depth: 32, max_nodes: 2_000, max_total_scalar_bytes: 64 << 10},
    };
    match serde_saphyr::from_str_with_options::<Value>(value, options) {
        Ok(mapping @ Value::Object(_)) => Ok(mapping),
        Ok(_) => Err("must be a mapping, as in {http: {url: …}}".into()),
        Err(error) => Err(match error.location() {
            Some(place) => format!("not valid YAML (line {}, column {})", place.line(), place.column()),
            None => "not valid YAML".into(),
        }),
    }
}

/// Sets what has a default, where something is said.
fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Sets what has none, where something is said.
fn keep<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}
