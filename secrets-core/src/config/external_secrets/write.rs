//! Writes the tree of a configuration, each part with the place in the manifest that it comes from.

use crate::config::node::{Content, Node, Place};
use crate::config::section::{Item, Mistakes};

/// Writes a text.
pub(super) fn text(place: Place, text: impl Into<String>) -> Node {
    Node { content: Content::Text(text.into()), place, expanded: false }
}

/// Copies a text under another key.
pub(super) fn copied(key: &'static str, item: &Item<'_>) -> Option<(&'static str, Node)> {
    Some((key, text(item.place(), item.parse::<String>()?)))
}

/// Writes a mapping.
pub(super) fn map<K: Into<String>>(place: Place, entries: impl IntoIterator<Item = (K, Node)>) -> Node {
    let entries = entries.into_iter().map(|(key, node)| (key.into(), node.place, node)).collect();
    Node { content: Content::Map(entries), place, expanded: false }
}

/// Writes a list.
pub(super) fn list(place: Place, items: Vec<Node>) -> Node {
    Node { content: Content::List(items), place, expanded: false }
}

/// Adds entries to the mapping or list under `key` of `configuration`; notes those whose name is taken.
pub(super) fn add(configuration: &mut Node, key: &str, added: Content, mistakes: &Mistakes) {
    let place = configuration.place;
    // What is no mapping is told when it is read.
    let Content::Map(entries) = &mut configuration.content else { return };
    let there = entries.iter_mut().find(|(name, ..)| name == key).map(|(_, _, node)| &mut node.content);
    match (there, added) {
        (Some(Content::Map(there)), Content::Map(added)) => {
            for (name, place, node) in added {
                match there.iter().any(|(taken, ..)| *taken == name) {
                    true => mistakes.push(place, key.into(), format!("two providers have the name `{name}`")),
                    false => there.push((name, place, node)),
                }
            }
        }
        (Some(Content::List(there)), Content::List(added)) => there.extend(added),
        (Some(there @ Content::Null), added) => *there = added,
        (Some(_), _) => {}
        (None, content) => entries.push((key.into(), place, Node { content, place, expanded: false })),
    }
}
