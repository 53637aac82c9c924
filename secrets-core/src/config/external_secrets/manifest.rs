//! What all manifests have: version, kind and metadata.

use crate::config::node::{Node, Place};
use crate::config::section::{Item, Mistakes, Section};
use crate::notify::Workload;

/// A manifest whose kind is known.
pub(super) struct Manifest<'a> {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) annotations: Annotations<'a>,
    pub(super) spec: Section<'a>,
    pub(super) place: Place,
}

/// The kinds that are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    SecretStore,
    ClusterSecretStore,
    ExternalSecret,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SecretStore => "SecretStore",
            Self::ClusterSecretStore => "ClusterSecretStore",
            Self::ExternalSecret => "ExternalSecret",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let all = [Self::SecretStore, Self::ClusterSecretStore, Self::ExternalSecret];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

impl<'a> Manifest<'a> {
    /// Reads what is around `spec`; notes what is wrong there.
    pub(super) fn read(document: &'a Node, mistakes: &'a Mistakes) -> Option<Self> {
        let item = Item::new(document, call(document), mistakes);
        let mut section = item.section()?;
        let version = section.item("apiVersion");
        let kind = section.item("kind");
        let is_known = version.as_ref().is_some_and(|version| {
            let known = version.text().is_some_and(|text| VERSIONS.contains(&text));
            if !known {
                version.mistake(format!("must be {}", VERSIONS.join(" or ")));
            }
            known
        });
        let of_kind = kind.as_ref().and_then(Item::text).and_then(Kind::of);
        if of_kind.is_none() {
            const KINDS: &str = "must be SecretStore, ClusterSecretStore or ExternalSecret";
            match kind {
                Some(kind) => kind.mistake(KINDS),
                None => section.mistake(format!("needs `kind`, which {KINDS}")),
            }
        }
        let kind = of_kind.filter(|_| is_known)?;
        section.item("status");
        let metadata = section.section("metadata");
        let spec = section.section("spec");
        for (key, there) in [("metadata", metadata.is_some()), ("spec", spec.is_some())] {
            if !there && section.item(key).is_none() {
                section.mistake(format!("needs `{key}`"));
            }
        }
        section.finish();
        let mut metadata = metadata?;
        let name = metadata.item("name");
        if name.is_none() {
            metadata.mistake("needs `name`");
        }
        let name = name?;
        let namespace = metadata.item("namespace").and_then(|item| object_name(&item));
        let annotations = Annotations::of(metadata.section("annotations"), name);
        Some(Self {
            kind,
            name: object_name(&annotations.name)?,
            namespace,
            annotations,
            spec: spec?,
            place: item.place(),
        })
    }
}

/// Reads the name of an object.
pub(super) fn object_name(item: &Item<'_>) -> Option<String> {
    let name: String = item.parse()?;
    if !Workload::is_name(&name) {
        item.mistake("must be a name of lower-case letters, digits, `-` and `.`");
        return None;
    }
    Some(name)
}

/// The annotations that are for Keywheel: what a manifest of the operator has no field for.
pub(super) struct Annotations<'a> {
    /// The name of their object, which is said of what they do not say.
    name: Item<'a>,
    entries: Vec<(&'a str, Item<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Annotations<'a> {
    fn of(section: Option<Section<'a>>, name: Item<'a>) -> Self {
        let all = section.map(Section::named).unwrap_or_default();
        let own = all.into_iter().filter_map(|(name, item)| Some((name.strip_prefix(PREFIX)?, item)));
        Self { name, entries: own.collect(), known: Vec::new() }
    }

    /// Returns the value of an annotation.
    pub(super) fn item(&mut self, name: &'static str) -> Option<Item<'a>> {
        self.known.push(name);
        self.entries.iter().find(|(other, _)| *other == name).map(|(_, item)| item.clone())
    }

    /// Notes what is wrong without an annotation.
    pub(super) fn mistake(&self, message: impl Into<String>) {
        self.name.mistake(message);
    }

    /// Notes the annotations that nobody asked for.
    pub(super) fn finish(self) {
        for (name, item) in self.entries.iter().filter(|(name, _)| !self.known.contains(name)) {
            let known: Vec<String> = self.known.iter().map(|known| format!("{PREFIX}{known}")).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            item.mistake(format!("there is no annotation {PREFIX}{name} here; known: {known}"));
        }
    }
}

/// Notes what is no key of a mapping that has nothing to say here.
pub(super) fn read_plain(item: &Item<'_>, known: &[&str]) {
    let Some(section) = item.section() else { return };
    for (key, item) in section.named() {
        if !known.contains(&key) {
            item.mistake(format!("unknown key `{key}`; known here: {}", known.join(", ")));
        }
    }
}

/// Returns what messages call a manifest.
fn call(document: &Node) -> String {
    let text = |node: Option<&Node>| node.and_then(Node::text).unwrap_or_default().to_owned();
    let name = document.get("metadata").and_then(|metadata| metadata.get("name"));
    format!("{}/{}", text(document.get("kind")), text(name))
}

/// The keys of a reference to a service account.
pub(super) const SERVICE_ACCOUNT: [&str; 3] = ["name", "namespace", "audiences"];
const PREFIX: &str = "keywheel.dev/";
const VERSIONS: [&str; 2] = ["external-secrets.io/v1", "external-secrets.io/v1beta1"];
