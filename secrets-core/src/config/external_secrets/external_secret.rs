//! `ExternalSecret`: the delivery of what the operator would have copied into a `Secret`.

use std::collections::BTreeSet;

use super::manifest::{Annotations, Manifest};
use super::remote::{self, Purpose, Remote};
use super::store::{Store, Stores};
use super::target::Templates;
use super::template::Keys;
use super::write::{list, map, text};
use super::{refresh, target};
use crate::config::node::{Node, Place};
use crate::config::section::{Item, Section};
use crate::render::is_variable_name;

/// What the delivery will have.
#[derive(Default)]
struct Delivery {
    secrets: Vec<(String, Node)>,
    keys: Keys,
    extracts: Vec<(String, Place)>,
    data: Vec<(String, Place)>,
    /// Whether something is missing: it is wrong, or its store is.
    is_partial: bool,
}

/// Reads a manifest into a delivery; notes what is wrong.
pub(super) fn read(manifest: Manifest<'_>, stores: &Stores) -> Option<Node> {
    let Manifest { name, namespace, mut annotations, mut spec, place, .. } = manifest;
    let namespace = namespace.as_deref();
    let reference = spec.item("secretStoreRef");
    let store = reference.as_ref().map(|reference| stores.find(reference, namespace));
    let refresh = refresh::read(&mut spec);
    let target = spec.section("target");
    let (data, from) = (spec.list("data"), spec.list("dataFrom"));
    if data.is_empty() && from.is_empty() {
        spec.mistake("needs `data` or `dataFrom`");
    }
    let mut delivery = Delivery::default();
    for item in &from {
        let Some(mut section) = item.section() else { continue };
        let store = source(&mut section, store, stores, namespace);
        let extract = section.item("extract");
        section.refuse("find", "Keywheel reads the secrets that are named: write an `extract` for each");
        section.refuse("rewrite", "Keywheel renames no keys: name each in `data`, or in `target.template`");
        if extract.is_none() && section.item("find").is_none() {
            section.mistake("needs `extract`");
        }
        section.finish();
        let remote = extract.and_then(|extract| remote::read(&extract, store, Purpose::Extract));
        delivery.extract(remote, refresh.as_ref());
    }
    for item in &data {
        let Some(mut section) = item.section() else { continue };
        let store = source(&mut section, store, stores, namespace);
        let key = section.item("secretKey");
        let remote = section.item("remoteRef");
        for (name, there) in [("secretKey", key.is_some()), ("remoteRef", remote.is_some())] {
            if !there {
                section.mistake(format!("needs `{name}`"));
            }
        }
        section.finish();
        let remote = remote.and_then(|remote| remote::read(&remote, store, Purpose::Data));
        if let Some(item) = key
            && let Some(key) = read_key(&item)
        {
            delivery.key(key, &item, remote, refresh.as_ref());
        }
    }
    let (target_name, templates) =
        target.map(|target| target::read(target, &delivery.keys)).unwrap_or_default();
    let directory = directory(&mut annotations, &target_name.unwrap_or_else(|| name.clone()), place);
    annotations.finish();
    spec.finish();
    delivery.into_node(name, directory?, templates, place)
}

impl Delivery {
    /// Adds the fields of a secret; where that has a mistake, only so far that templates may name them.
    fn extract(&mut self, remote: Option<Remote>, refresh: Option<&Node>) {
        let variable = self.variable("extract");
        self.keys.extracts.push(variable.clone());
        let Some(remote) = remote else {
            self.is_partial = true;
            return;
        };
        self.extracts.push((variable.clone(), remote.place));
        self.secret(variable, &remote, refresh);
    }

    /// Adds a key; where its `remoteRef` has a mistake, only so far that templates may name it.
    fn key(&mut self, key: String, item: &Item<'_>, remote: Option<Remote>, refresh: Option<&Node>) {
        if self.keys.data.contains_key(&key) {
            item.mistake(format!("the key {key:?} is there twice"));
            return;
        }
        let variable = self.variable(&key);
        let Some(remote) = remote else {
            self.keys.data.insert(key, variable);
            self.is_partial = true;
            return;
        };
        let form = match (remote.is_encoded, remote.is_property) {
            (true, _) => " | b64decode",
            (false, true) => "",
            (false, false) => " | json",
        };
        self.keys.data.insert(key.clone(), format!("{variable}{form}"));
        self.data.push((key, item.place()));
        self.secret(variable, &remote, refresh);
    }

    fn secret(&mut self, variable: String, remote: &Remote, refresh: Option<&Node>) {
        let place = remote.place;
        let mut secret = vec![("ref", text(place, remote.reference.to_string()))];
        secret.extend(refresh.map(|refresh| {
            let refresh = refresh.text().unwrap_or_default();
            ("refresh", text(place, refresh))
        }));
        self.secrets.push((variable, map(place, secret)));
    }

    /// Returns a name for a secret that templates can use and no other has.
    fn variable(&self, wanted: &str) -> String {
        let taken: BTreeSet<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        let plain: String =
            wanted.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(LONGEST).collect();
        let free = |name: &String| is_variable_name(name) && !taken.contains(name.as_str());
        let numbered = (1..).map(|number| format!("key_{number}_{plain}"));
        let mut names =
            [plain.clone()].into_iter().filter(|name| !RESERVED.contains(&name.as_str())).chain(numbered);
        names.find(free).unwrap_or(plain)
    }

    /// Returns the delivery as a configuration has it, unless something is missing.
    fn into_node(
        mut self,
        name: String,
        directory: Node,
        templates: Templates,
        place: Place,
    ) -> Option<Node> {
        if self.is_partial {
            return None;
        }
        let secrets = std::mem::take(&mut self.secrets);
        let entries = [
            ("name", text(place, name)),
            ("directory", directory),
            ("secrets", map(place, secrets)),
            ("files", list(place, self.files(templates))),
        ];
        Some(map(place, entries))
    }

    /// Returns the files: those of the templates, and what is copied where these do not replace it.
    fn files(self, templates: Templates) -> Vec<Node> {
        let Templates { files, replace } = templates;
        let mut all = Vec::new();
        if !replace {
            let extracts = self.extracts.into_iter();
            all.extend(extracts.map(|(secret, place)| map(place, [("fields_of", text(place, secret))])));
            for (key, place) in self.data {
                if files.iter().any(|(other, ..)| *other == key) {
                    continue;
                }
                let expression = self.keys.data.get(&key).map(String::as_str).unwrap_or_default();
                all.push(file(key, place, format!("{{{{ {expression} }}}}")));
            }
        }
        all.extend(files.into_iter().map(|(key, place, template)| file(key, place, template)));
        all
    }
}

fn file(key: String, place: Place, template: String) -> Node {
    map(place, [("path", text(place, key)), ("value", text(place, template))])
}

/// Returns the store of an entry: its own, where it names one.
fn source<'s>(
    section: &mut Section<'_>,
    store: Option<Option<&'s Store>>,
    stores: &'s Stores,
    namespace: Option<&str>,
) -> Option<&'s Store> {
    let own = section.item("sourceRef");
    let named = match &own {
        Some(own) => {
            let mut own = own.section()?;
            let generator = own.item("generatorRef");
            let named = own.item("storeRef");
            own.finish();
            if let Some(generator) = generator {
                generator
                    .mistake("Keywheel has no generators; a dynamic secret of Vault is read by its path");
                return None;
            }
            named
        }
        None => None,
    };
    if let Some(named) = named {
        return stores.find(&named, namespace);
    }
    if store.is_none() {
        section.mistake("has no store: the manifest needs `secretStoreRef`");
    }
    store.flatten()
}

/// Reads a key of the `Secret`, which is the name of a file.
fn read_key(item: &Item<'_>) -> Option<String> {
    let key: String = item.parse()?;
    target::check_key(&key).map_err(|reason| item.mistake(reason)).ok()?;
    Some(key)
}

fn directory(annotations: &mut Annotations<'_>, target: &str, place: Place) -> Option<Node> {
    match annotations.item("directory") {
        Some(item) => Some(text(item.place(), item.parse::<String>()?)),
        None if OF_OTHERS.contains(&target) => {
            annotations.mistake(format!(
                "{DIRECTORY}/{target} has the tokens of the pod: name another directory in the annotation keywheel.dev/directory"
            ));
            None
        }
        None => Some(text(place, format!("{DIRECTORY}/{target}"))),
    }
}

/// Where `Secret`s are delivered, each in a directory of its name.
const DIRECTORY: &str = "/run/secrets";
/// What is there without Keywheel: the tokens of the pod's service account.
const OF_OTHERS: [&str; 2] = ["keywheel", "kubernetes.io"];
/// How much of a key is in the name of a variable.
const LONGEST: usize = 60;
/// Functions of templates.
const RESERVED: [&str; 2] = ["dict", "range"];
