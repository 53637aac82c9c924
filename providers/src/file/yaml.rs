//! YAML, with every number as it is spelled.
//!
//! What is written without quotes and reads as a number (`1e10`, `007`, `1.10`) is as likely as not a password that somebody forgot to
//! quote, so its spelling is kept. Truth values are `true` and `false` alone (YAML 1.2), so that `no` and `on` stay words.

use std::collections::BTreeMap;
use std::fmt;

use keywheel_core::error::Result;
use keywheel_core::value::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::format::{Format, malformed, top_level};
use super::read::Fields;

/// Parses a document.
pub(super) fn parse(text: &str) -> Result<Fields> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        // So that a small file cannot grow by its own aliases into one that fills the memory.
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 4096,
            max_replay_stack_depth: 2,
            max_alias_expansions_per_anchor: 16,
        },
    };
    let node: Node = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(|location| (location.line(), location.column()));
        malformed(Format::Yaml, at, "this is no YAML, has a name twice, or too many aliases")
    })?;
    Ok(top_level(node.into_value(text)))
}

/// Returns a number as it is spelled, or a text when it is none that JSON could have.
pub(super) fn number(spelling: &str) -> Value {
    match spelling.parse::<f64>() {
        Ok(number) if number.is_finite() => Value::Number(spelling.to_owned().into()),
        _ => Value::from(spelling),
    }
}

struct Node(Spanned<Content>);

enum Content {
    Number(String),
    Value(Value),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    fn into_value(self, text: &str) -> Value {
        match self.0.value {
            Content::Number(parsed) => {
                let span = self.0.defined.span();
                let spelled = span.byte_offset().zip(span.byte_len()).and_then(|(offset, length)| {
                    let start = usize::try_from(offset).ok()?;
                    text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
                });
                number(spelled.map_or(&*parsed, str::trim))
            }
            Content::Value(value) => value,
            Content::List(nodes) => {
                Value::List(nodes.into_iter().map(|node| node.into_value(text)).collect())
            }
            Content::Map(nodes) => {
                Value::Map(nodes.into_iter().map(|(name, node)| (name, node.into_value(text))).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
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
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Value(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Value(Value::Bool(value)))
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
        Ok(Content::Value(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Value(Value::Bytes(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, node)) = entries.next_entry()? {
            map.insert(name, node);
        }
        Ok(Content::Map(map))
    }
}
