//! What a file's name says about its content, and the content's fields.
//!
//! The parsers' own messages quote their input, so none of them is used: an error is a sentence from here, and a line and a column.

use std::collections::BTreeMap;

use keywheel_core::error::{Error, Result};
use keywheel_core::secret::SecretValue;
use keywheel_core::value::Value;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::read::{Fields, unfinished};
use super::{dotenv, yaml};

/// How a file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Json,
    Yaml,
    Toml,
    Dotenv,
    Plain,
}

impl Format {
    /// Returns whether a file of that name is encrypted, and the format of what is in it.
    pub(super) fn of(name: &str) -> (bool, Self) {
        let encrypted = is_encrypted(name);
        let name = if encrypted { &name[..name.len() - AGE.len()] } else { name };
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let format = match extension.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "toml" => Self::Toml,
            "env" => Self::Dotenv,
            _ => Self::Plain,
        };
        (encrypted, format)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Dotenv => "dotenv",
            Self::Plain => "plain",
        }
    }
}

/// Tells whether a file of that name is encrypted with age.
pub(super) fn is_encrypted(name: &str) -> bool {
    name.len() > AGE.len()
        && name.is_char_boundary(name.len() - AGE.len())
        && name[name.len() - AGE.len()..].eq_ignore_ascii_case(AGE)
}

const AGE: &str = ".age";

/// Parses the content of a file.
pub(super) fn parse(bytes: Zeroizing<Vec<u8>>, format: Format) -> Result<Fields> {
    if bytes.is_empty() || (format != Format::Plain && bytes.trim_ascii().is_empty()) {
        return Err(unfinished("the file is empty"));
    }
    if format == Format::Plain {
        return Ok(single(Value::Bytes(SecretValue::copy_of(&bytes))));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        malformed(format, Some(position(before)), "it is not UTF-8 text")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Json => json(text),
        Format::Yaml => yaml::parse(text),
        Format::Toml => toml(text),
        Format::Dotenv => dotenv::parse(text),
        Format::Plain => unreachable!("returned above"),
    }
}

/// Makes the error for a file that does not parse. It may be half-written, so it is tried again.
pub(super) fn malformed(format: Format, position: Option<(u64, u64)>, reason: &str) -> Error {
    let at = match position {
        Some((line, column)) => format!("line {line}, column {column}: "),
        None => String::new(),
    };
    unfinished(format!("not a {} file: {at}{reason}", format.name()))
}

/// Returns the fields of a top level that is a mapping, and one named `value` for any other.
pub(super) fn top_level(value: Value) -> Fields {
    match value {
        Value::Map(fields) => fields,
        value => single(value),
    }
}

/// Returns the line and the column, in characters from 1, at the end of `before`.
pub(super) fn position(before: &[u8]) -> (u64, u64) {
    let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    (lines as u64 + 1, String::from_utf8_lossy(last).chars().count() as u64 + 1)
}

fn single(value: Value) -> Fields {
    BTreeMap::from([("value".to_owned(), value)])
}

fn json(text: &str) -> Result<Fields> {
    let value = serde_json::from_str(text).map_err(|error| {
        let reason =
            if error.is_eof() { "it ends too early" } else { "a character that does not belong there" };
        malformed(Format::Json, Some((error.line() as u64, error.column() as u64)), reason)
    })?;
    Ok(top_level(value))
}

fn toml(text: &str) -> Result<Fields> {
    let table = DeTable::parse(text).map_err(|error| {
        let at =
            error.span().and_then(|span| text.get(..span.start)).map(|before| position(before.as_bytes()));
        malformed(Format::Toml, at, "this is no TOML")
    })?;
    Ok(toml_table(table.into_inner()))
}

fn toml_table(table: DeTable<'_>) -> Fields {
    table
        .into_iter()
        .map(|(name, value)| (name.into_inner().into_owned(), toml_value(value.into_inner())))
        .collect()
}

/// Numbers keep their spelling, but for other radixes and `_`; dates and times are texts.
fn toml_value(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Bytes(text.into_owned().into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number.to_string().into()),
            Err(_) => Value::Bytes(number.as_str().to_owned().into()),
        },
        DeValue::Float(number) => yaml::number(number.as_str()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(value) => Value::Bytes(value.to_string().into()),
        DeValue::Array(values) => {
            Value::List(values.into_iter().map(|value| toml_value(value.into_inner())).collect())
        }
        DeValue::Table(table) => Value::Map(toml_table(table)),
    }
}
