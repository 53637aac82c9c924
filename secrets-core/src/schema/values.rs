//! The single values of a configuration. Each may come from a variable (`${NAME}`), and is a text then.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// What a text holds that is filled in from the environment.
const VARIABLE: &str = r"\$\{";

/// Makes types whose values are described where they are used.
macro_rules! values {
    ($($(#[$doc:meta])* $name:ident => $schema:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )+};
}

values! {
    /// A text; a number or a truth value is taken as it is written.
    Text => json_schema!({"title": "text", "type": ["string", "number", "boolean"]});
    /// True or false.
    Flag => json_schema!({"title": "true or false", "type": ["boolean", "string"], "pattern": format!("^(true|false)$|{VARIABLE}")});
    /// A number with a fraction.
    Number => json_schema!({"title": "number", "type": ["number", "string"], "pattern": format!(r"^[0-9.]+$|{VARIABLE}")});
    /// A length of time, such as `90s` or `1h30m`.
    Span => form("duration", "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$");
    /// A secret, such as `vault://secret/orders/db`.
    Reference => form("reference", "^[a-z][a-z0-9_-]*://.");
    /// A path from `/` on.
    AbsolutePath => form("absolute path", "^/");
    /// The bits of a file's mode, such as `"0440"`.
    Mode => form("octal text", "^[0-7]{3,4}$");
}

fn form(title: &str, pattern: &str) -> Schema {
    json_schema!({"title": title, "type": "string", "minLength": 1, "pattern": format!("{pattern}|{VARIABLE}")})
}

/// Returns the schema of one of some words.
pub fn words(words: &[impl AsRef<str>]) -> Schema {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    json_schema!({"anyOf": [{"enum": words}, {"type": "string", "pattern": VARIABLE}]})
}

/// A whole number within bounds.
#[derive(Debug)]
pub struct Count<const LEAST: u32, const MOST: u32>;

impl<const LEAST: u32, const MOST: u32> JsonSchema for Count<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("CountFrom{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "whole number", "type": ["integer", "string"], "minimum": LEAST, "maximum": MOST, "pattern": format!("^[0-9]+$|{VARIABLE}"),
        })
    }
}

/// A short form, or a mapping that says more.
#[derive(Debug)]
pub struct Either<Short, Long>(PhantomData<(Short, Long)>);

impl<Short: JsonSchema, Long: JsonSchema> JsonSchema for Either<Short, Long> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", Short::schema_name(), Long::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<Short>(), generator.subschema_for::<Long>()]})
    }
}
