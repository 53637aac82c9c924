//! YAML as the tree of a configuration.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::mistake;
use super::node::{Content, Node, Place};
use super::section::Mistake;

/// Reads all documents of `text`.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Mistake> {
    serde_saphyr::from_multiple(text).map_err(|error| syntax_mistake(&error))
}

/// Reads the one document of `text`.
pub(super) fn document(text: &str) -> Result<Node, Mistake> {
    serde_saphyr::from_str(text).map_err(|error| syntax_mistake(&error))
}

fn syntax_mistake(error: &serde_saphyr::Error) -> Mistake {
    let place = error.location().map(Place::from).unwrap_or_default();
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    // The library ends its sentences with the place and with advice for its callers.
    let end = [", set DuplicateKeyPolicy", " at line "].iter().filter_map(|mark| line.find(mark)).min();
    mistake(place, format!("not valid YAML: {}", &line[..end.unwrap_or(line.len())]))
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        #[allow(clippy::useless_conversion, reason = "the crate's integers depend on its features")]
        Self { line: location.line().into(), column: location.column().into() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { content: spanned.value, place: spanned.referenced.into(), expanded: false })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of the configuration")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some((key, node)) = entries.next_entry::<Spanned<String>, Node>()? {
            map.push((key.value, key.referenced.into(), node));
        }
        Ok(Content::Map(map))
    }
}
