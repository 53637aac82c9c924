//! The JSON Schema of the configuration, for editors and for whoever writes configurations by program.
//!
//! The types below this module have the shape of the file, key by key, and their documentation is what an editor shows. Nothing is ever made of
//! them: the file is read by [`config`](crate::config), which knows places and has the better words. A test holds the two together: it asks the
//! reader at every mapping which keys it knows.
//!
//! Each kind of provider and of strategy describes its own settings beside its factory ([`Kind::schema`](crate::registry::Kind::schema),
//! [`StrategyKind::schema`](crate::rotation::StrategyKind::schema)), so that the schema is that of the program that prints it.
//!
//! The draft is 07, the one that all editors know.

mod change;
mod delivery;
mod incidents;
mod policy;
mod provider;
mod root;
mod rotation;
mod tidy;
mod values;

use schemars::generate::SchemaSettings;
pub use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

pub use self::policy::GeneratedValue;
pub use self::values::{AbsolutePath, Count, Either, Flag, Mode, Number, Reference, Span, Text, words};
use crate::registry::Registry;

/// Returns the schema of a configuration for the kinds of `registry`.
pub fn of(registry: &Registry) -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let kinds = [
        ("Provider", provider::schema(registry, &mut generator)),
        ("Strategy", rotation::strategy(registry, &mut generator)),
    ];
    for (name, schema) in kinds {
        generator.definitions_mut().insert(name.into(), schema.into());
    }
    let mut schema: Value = generator.into_root_schema_for::<root::Configuration>().into();
    tidy::tidy(&mut schema);
    schema
}

/// Returns the schema of settings that are no more than a mapping.
pub fn open() -> Schema {
    schemars::json_schema!({"type": "object"})
}

/// Returns the schema of a kind that has no settings.
pub fn without_settings(description: &str) -> Schema {
    schemars::json_schema!({"description": description, "type": "object", "additionalProperties": false})
}

/// Of alternatives that `tag` tells apart, lets the one of that `name` do without it.
pub fn make_default(alternatives: &mut Schema, tag: &str, name: &str) {
    let all = alternatives.get_mut("oneOf").and_then(Value::as_array_mut);
    let one = all.and_then(|all| all.iter_mut().find(|one| one["properties"][tag]["const"] == name));
    if let Some(required) = one.and_then(|one| one["required"].as_array_mut()) {
        required.retain(|key| key != tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn a_kind_that_says_nothing_has_what_all_have_and_may_have_more() {
        let schema = of(&Registry::default().with(Memory::default()));
        let kind = &schema["definitions"]["Provider-memory"];
        assert_eq!(kind["properties"]["kind"]["enum"], serde_json::json!(["memory"]));
        assert_eq!(kind["required"], serde_json::json!(["kind"]));
        assert!(kind["properties"]["budget"].is_object() && kind["additionalProperties"].is_null(), "{kind}");
    }

    #[test]
    fn what_is_left_out_is_not_null() {
        let schema = of(&Registry::default()).to_string();
        assert!(!schema.contains("null"), "{schema}");
    }
}
