//! Manifests of the External Secrets Operator as configuration: a store is a provider, and an `ExternalSecret` the delivery of what the operator would
//! have copied into a `Secret`.
//!
//! ```text
//! documents -> Manifest -> Store: a provider, and how its secrets are named
//!                       -> ExternalSecret: a delivery     -> the tree of a configuration, which is read like any other
//! ```
//!
//! A manifest is translated wholly, or refused: whatever would not come out as the operator has it is a mistake with its place. Passed over is what has a
//! meaning for objects of the cluster alone: labels, annotations and type of the `Secret`, the store's `controller`, `conditions`, `refreshInterval` and
//! `retrySettings`, what is for `PushSecret`, and `status`. A service account that a store names is the pod's own.
//!
//! <https://external-secrets.io/latest/api/spec/> has the fields; what they do is told by the operator's source.

mod aws;
mod external_secret;
mod manifest;
mod refresh;
mod remote;
mod store;
mod target;
mod template;
#[cfg(test)]
mod tests;
mod vault;
mod write;

use self::manifest::{Kind, Manifest};
use self::store::{Store, Stores};
use super::node::{Content, Node};
use super::section::Mistakes;

/// Tells whether a document is an object of a cluster, and not a configuration.
pub(super) fn is_manifest(document: &Node) -> bool {
    matches!(&document.content, Content::Map(entries) if entries.iter().any(|(key, ..)| key == "apiVersion"))
}

/// Adds what the manifests say to `configuration`, which has what is said beside them. A manifest with a mistake is left out: it makes no mistakes elsewhere.
pub(super) fn translate(configuration: &mut Node, manifests: &[Node], mistakes: &Mistakes) {
    let read = manifests.iter().filter_map(|document| Manifest::read(document, mistakes));
    let (secrets, stores): (Vec<_>, Vec<_>) =
        read.partition(|manifest| manifest.kind == Kind::ExternalSecret);
    let mut known = Stores::default();
    for manifest in stores {
        let (place, before) = (manifest.place, mistakes.count());
        let (mut store, provider) = Store::read(manifest);
        if mistakes.count() != before {
            store.backend = None;
        }
        let name = store.provider.clone();
        known.add(store, place, mistakes);
        if let Some(provider) = provider.filter(|_| mistakes.count() == before) {
            write::add(configuration, "providers", Content::Map(vec![(name, place, provider)]), mistakes);
        }
    }
    for manifest in secrets {
        let before = mistakes.count();
        let delivery = external_secret::read(manifest, &known);
        if let Some(delivery) = delivery.filter(|_| mistakes.count() == before) {
            write::add(configuration, "deliveries", Content::List(vec![delivery]), mistakes);
        }
    }
}
