//! The values that Keywheel makes.

#![allow(dead_code, reason = "the types are described, and never made")]

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::values::{Count, Text, words};

/// What a value that is generated looks like. Fewer than 64 bits that nobody can guess are refused.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum GeneratedValue {
    /// Characters: without `format`.
    Characters(Characters),
    /// Bytes: `format: hex`, `base64` or `base64url`.
    Bytes(Bytes),
    /// Words: `format: words`.
    Words(Words),
    /// A number: `format: uuid`.
    Uuid(Uuid),
}

/// Characters of some classes.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct Characters {
    /// How many.
    #[schemars(extend("default" = 32))]
    length: Option<Count<12, 1024>>,
    /// Which; one of each class is there at least.
    #[schemars(default, schema_with = "classes", extend("default" = ["lower", "upper", "digit"]))]
    classes: Option<Vec<Text>>,
    /// Which characters the class `symbol` has. Left out: all of ASCII's.
    symbols: Option<Text>,
    /// Which characters are never there.
    exclude: Option<Text>,
}

/// Bytes that nobody can guess, as a text.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct Bytes {
    /// How they are written.
    #[schemars(schema_with = "notation")]
    format: Text,
    /// How many.
    #[schemars(extend("default" = 32))]
    bytes: Option<Count<1, 1024>>,
}

/// Words of a list.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct Words {
    /// Words, of the English list of BIP 39.
    #[schemars(schema_with = "words_alone")]
    format: Text,
    /// How many.
    #[schemars(extend("default" = 6))]
    words: Option<Count<1, 64>>,
    /// What is between them.
    #[schemars(extend("default" = "-"))]
    separator: Option<Text>,
}

/// A UUID of version 4.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct Uuid {
    /// A UUID of version 4.
    #[schemars(schema_with = "uuid_alone")]
    format: Text,
}

fn classes(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "array", "minItems": 1, "uniqueItems": true, "items": words(&["lower", "upper", "digit", "symbol"])})
}

fn notation(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"enum": ["hex", "base64", "base64url"]})
}

fn words_alone(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"const": "words"})
}

fn uuid_alone(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"const": "uuid"})
}
