//! The annotations of the Vault Agent Injector, `vault.hashicorp.com/…`, as far as they are in wide use: they become the same wishes as Keywheel's own.
//!
//! <https://developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations> is the list; what of it is not here is told as a warning.

mod template;

use self::template::translate;
use super::annotations::Annotations;
use super::form;
use super::wishes::{Entry, Inline, Mode, Wishes};

/// What the annotations of the Vault Agent Injector begin with.
pub(super) const FAMILY: &str = "vault.hashicorp.com/";

/// Tells whether the pod asks the Vault Agent Injector for something.
pub(super) fn asks(annotations: &mut Annotations<'_>) -> bool {
    annotations.truth("agent-inject").unwrap_or(false)
}

/// Reads what a pod says to the Vault Agent Injector.
pub(super) fn read(annotations: &mut Annotations<'_>, wishes: &mut Wishes) {
    for known in KNOWN {
        annotations.mentions(known);
    }
    if annotations.truth("agent-pre-populate-only").unwrap_or(false) {
        wishes.mode = Mode::Once;
    }
    wishes.containers = annotations.parsed("agent-inject-containers", form::names);
    let directory = annotations.parsed("secret-volume-path", form::directory);
    wishes.placement.directory = Some(directory.unwrap_or_else(|| DIRECTORY.into()));
    wishes.user = annotations.parsed("agent-run-as-user", form::user);
    wishes.group = annotations.parsed("agent-run-as-group", form::user);
    wishes.sidecar.log_level = annotations.parsed("log-level", form::log_level);
    for (theirs, ours) in RESOURCES {
        let quantity = annotations.parsed(theirs, form::quantity);
        wishes.sidecar.resources.extend(quantity.map(|quantity| (ours, quantity)));
    }
    let login = &mut wishes.inline.login;
    login.address = annotations.text("service");
    login.namespace = annotations.text("namespace");
    login.role = annotations.text("role");
    login.method = annotations.parsed("auth-type", form::method);
    login.mount = annotations.text("auth-path").map(|path| {
        let path = path.trim_matches('/');
        path.strip_prefix("auth/").unwrap_or(path).to_owned()
    });
    wishes.inline.revoke_on_shutdown = annotations.truth("agent-revoke-on-shutdown");
    read_entries(annotations, &mut wishes.inline);
}

fn read_entries(annotations: &mut Annotations<'_>, inline: &mut Inline) {
    for (name, _) in annotations.named("agent-inject-template-file-") {
        let reason = "a template in a file of the agent's image cannot be read; put it into agent-inject-template-NAME";
        annotations.mistake(&format!("agent-inject-template-file-{name}"), reason);
    }
    for (name, path) in annotations.named("agent-inject-secret-") {
        match form::name(name).and_then(|()| template::reference(path, true)) {
            Ok(reference) => drop(inline.entries.insert(name.into(), all_fields(name, reference))),
            Err(reason) => annotations.mistake(&format!("agent-inject-secret-{name}"), &reason),
        }
    }
    for (name, source) in annotations.named("agent-inject-template-") {
        match form::name(name).and_then(|()| translate(source, &Entry::variable(name))) {
            Ok(translated) => {
                let entry =
                    Entry { template: Some(translated.text), beside: translated.secrets, ..Entry::default() };
                inline.entries.insert(name.into(), entry);
            }
            Err(reason) => annotations.mistake(&format!("agent-inject-template-{name}"), &reason),
        }
    }
    for (prefix, put) in KEYS {
        for (name, value) in annotations.named(prefix) {
            let put = match inline.entries.get_mut(name) {
                Some(entry) => put(entry, value.to_owned()),
                None => Err(format!("there is no agent-inject-secret-{name}")),
            };
            if let Err(reason) = put {
                annotations.mistake(&format!("{prefix}{name}"), &reason);
            }
        }
    }
    let commands = annotations.named("agent-inject-command-").into_iter();
    inline.commands.extend(commands.map(|(name, command)| (name.to_owned(), command.to_owned())));
}

/// Makes the file that a secret without a template becomes: a line for each field.
fn all_fields(name: &str, reference: String) -> Entry {
    let variable = Entry::variable(name);
    let template =
        format!("{{% for key, value in {variable} | items %}}{{{{ key }}}}: {{{{ value }}}}\n{{% endfor %}}");
    Entry { template: Some(template), beside: [(variable, reference)].into(), ..Entry::default() }
}

type Put = fn(&mut Entry, String) -> Result<(), String>;

const KEYS: [(&str, Put); 3] = [
    ("agent-inject-perms-", |entry, value| form::mode(&value).map(|()| entry.mode = Some(value))),
    ("agent-inject-file-", |entry, value| {
        entry.file = Some(value);
        Ok(())
    }),
    ("secret-volume-path-", |entry, value| form::directory(&value).map(|path| entry.directory = Some(path))),
];

/// Where the Vault Agent Injector puts secrets.
const DIRECTORY: &str = "/vault/secrets";
const RESOURCES: [(&str, &str); 4] = [
    ("agent-requests-cpu", "requests-cpu"),
    ("agent-requests-mem", "requests-memory"),
    ("agent-limits-cpu", "limits-cpu"),
    ("agent-limits-mem", "limits-memory"),
];
/// What Keywheel does in any case.
const KNOWN: [&str; 4] =
    ["agent-inject", "agent-inject-status", "agent-init-first", "agent-run-as-same-user"];
