//! `SecretStore` and `ClusterSecretStore`: a provider, and how its secrets are named.

use super::manifest::{Kind, Manifest, object_name};
use super::remote::Backend;
use super::{aws, vault};
use crate::config::node::{Node, Place};
use crate::config::section::{Item, Mistakes};

/// A store that an `ExternalSecret` may name.
pub(super) struct Store {
    kind: Kind,
    name: String,
    namespace: Option<String>,
    /// What the provider is called.
    pub(super) provider: String,
    /// How its secrets are named, where that could be read.
    pub(super) backend: Option<Backend>,
}

/// The stores of a file.
#[derive(Default)]
pub(super) struct Stores(Vec<Store>);

impl Store {
    /// Reads a manifest into the store and its provider; notes what is wrong.
    pub(super) fn read(manifest: Manifest<'_>) -> (Self, Option<Node>) {
        let Manifest { kind, name, namespace, mut annotations, mut spec, place } = manifest;
        for of_the_cluster in ["controller", "conditions", "refreshInterval", "retrySettings"] {
            spec.item(of_the_cluster);
        }
        let provider = spec.section("provider");
        if provider.is_none() && spec.item("provider").is_none() {
            spec.mistake("needs `provider`");
        }
        spec.finish();
        let read = provider.and_then(|mut provider| {
            let (vault, aws) = (provider.item("vault"), provider.item("aws"));
            for (name, item) in provider.entries() {
                if !matches!(name, "vault" | "aws") {
                    item.mistake(format!(
                        "Keywheel reads no secrets from `{name}`; stores of `vault` and `aws` are read"
                    ));
                }
            }
            match (vault, aws) {
                (Some(vault), None) => vault::read(vault.section()?, &mut annotations, place),
                (None, Some(aws)) => aws::read(aws.section()?, place),
                (Some(_), Some(_)) => {
                    provider.mistake("needs one of `vault` and `aws`");
                    None
                }
                (None, None) => {
                    if provider.entries().is_empty() {
                        provider.mistake("needs `vault` or `aws`");
                    }
                    None
                }
            }
        });
        if read.is_some() {
            annotations.finish();
        }
        let (backend, node) = read.map_or((None, None), |(backend, node)| (Some(backend), Some(node)));
        let provider = provider_name(kind, &name);
        (Self { kind, name, namespace, provider, backend }, node)
    }
}

impl Stores {
    /// Adds a store; notes one that is there already.
    pub(super) fn add(&mut self, store: Store, place: Place, mistakes: &Mistakes) {
        if self.0.iter().any(|other| other.kind == store.kind && other.name == store.name) {
            let called = format!("{}/{}", store.kind.name(), store.name);
            mistakes.push(
                place,
                called,
                "there are two of that name; a file is for the pods of one namespace",
            );
            return;
        }
        self.0.push(store);
    }

    /// Finds the store that a `secretStoreRef` or `storeRef` names, seen from `namespace`; notes one that there is not.
    pub(super) fn find(&self, reference: &Item<'_>, namespace: Option<&str>) -> Option<&Store> {
        let mut section = reference.section()?;
        let kind = section.item("kind");
        let name = section.item("name");
        section.finish();
        let kind = match kind.as_ref().map(|kind| (kind, kind.text())) {
            None | Some((_, Some("SecretStore"))) => Kind::SecretStore,
            Some((_, Some("ClusterSecretStore"))) => Kind::ClusterSecretStore,
            Some((kind, _)) => {
                kind.mistake("must be SecretStore or ClusterSecretStore");
                return None;
            }
        };
        let Some(item) = name else {
            reference.mistake("needs `name`");
            return None;
        };
        let name = object_name(&item)?;
        let is_near = |store: &Store| match (store.kind, store.namespace.as_deref(), namespace) {
            (Kind::SecretStore, Some(its), Some(here)) => its == here,
            _ => true,
        };
        let found = self.0.iter().find(|store| store.kind == kind && store.name == name && is_near(store));
        if found.is_none() {
            item.mistake(format!(
                "there is no {} {name:?} in this file{}; put its manifest beside this one",
                kind.name(),
                namespace.map(|namespace| format!(" for the namespace {namespace:?}")).unwrap_or_default(),
            ));
        }
        found
    }
}

/// Returns what the provider of a store is called: no two stores have the same, since no object's name has a `_`.
fn provider_name(kind: Kind, name: &str) -> String {
    let prefix = if kind == Kind::ClusterSecretStore { "cluster-store" } else { "store" };
    format!("{prefix}_{}", name.replace('.', "_"))
}
