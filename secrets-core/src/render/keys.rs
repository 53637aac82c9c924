//! The fields of a secret as keys of a Kubernetes `Secret`, whose names have fewer characters.

use std::collections::BTreeMap;

use crate::value::Value;

/// Why a value has no such keys. No value is in it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoKeys {
    /// It is no structure.
    #[error("it is neither a structure nor a text that is a JSON object, whose fields could be taken")]
    NoFields,
    /// Two of its fields would be one.
    #[error("two of its fields would have the key {0:?}")]
    Same(String),
}

/// Returns the fields of a structure, or of a text that is a JSON object, each under the key that it has.
pub(super) fn of(value: &Value) -> Result<BTreeMap<String, Value>, NoKeys> {
    match value {
        Value::Map(fields) => of_fields(fields),
        Value::Bytes(text) => of_text(text.expose_secret()),
        _ => Err(NoKeys::NoFields),
    }
}

/// Copies fields, each under the key that it has.
pub(super) fn of_fields<'a>(
    fields: impl IntoIterator<Item = (impl AsRef<str>, &'a Value)>,
) -> Result<BTreeMap<String, Value>, NoKeys> {
    let mut keys = BTreeMap::new();
    for (name, value) in fields {
        let key = key_of(name.as_ref());
        if keys.insert(key.clone(), value.copy()).is_some() {
            return Err(NoKeys::Same(key));
        }
    }
    Ok(keys)
}

/// Reads the fields of a text that is a JSON object, each under the key that it has.
pub(super) fn of_text(text: &[u8]) -> Result<BTreeMap<String, Value>, NoKeys> {
    let fields: BTreeMap<String, Value> = serde_json::from_slice(text).map_err(|_| NoKeys::NoFields)?;
    of_fields(&fields)
}

/// Returns the key of a field: what is no ASCII letter or digit, `-`, `_` or `.` is `_` there.
fn key_of(field: &str) -> String {
    field.chars().map(|c| if is_of_key(c) { c } else { '_' }).collect()
}

/// Tells whether a key may have this character.
pub(crate) fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
