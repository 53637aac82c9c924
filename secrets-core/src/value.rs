//! The value of a field: bytes, or a structure of them, read straight from JSON, YAML or TOML into wiped buffers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use crate::secret::SecretValue;

/// A value as the source structures it. Every leaf that can hold a secret is wiped when dropped; `Debug` shows the shape alone.
#[derive(Debug)]
pub enum Value {
    /// Nothing, as JSON has it.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, by its decimal text.
    Number(SecretValue),
    /// A text, or any bytes.
    Bytes(SecretValue),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns how many bytes of text the value holds, names included.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 4,
            Self::Number(value) | Self::Bytes(value) => value.len(),
            Self::List(values) => values.iter().map(Self::size).sum(),
            Self::Map(values) => values.iter().map(|(name, value)| name.len() + value.size()).sum(),
        }
    }

    /// Returns the bytes to deliver: a text as it is, a number or truth value by its text, nothing for null, and a structure as
    /// compact JSON. `None` when a structure holds bytes that JSON cannot.
    pub fn to_bytes(&self) -> Option<SecretValue> {
        match self {
            Self::Null => Some(SecretValue::copy_of(b"")),
            Self::Bool(value) => Some(SecretValue::copy_of(if *value { b"true" } else { b"false" })),
            Self::Number(value) | Self::Bytes(value) => Some(SecretValue::copy_of(value.expose_secret())),
            Self::List(_) | Self::Map(_) => serde_json::to_vec(&Exposed(self)).ok().map(SecretValue::from),
        }
    }

    /// Copies the value, which is named for what it does: there is one more to be wiped.
    #[must_use]
    pub fn copy(&self) -> Self {
        let bytes = |bytes: &SecretValue| SecretValue::copy_of(bytes.expose_secret());
        match self {
            Self::Null => Self::Null,
            Self::Bool(value) => Self::Bool(*value),
            Self::Number(value) => Self::Number(bytes(value)),
            Self::Bytes(value) => Self::Bytes(bytes(value)),
            Self::List(values) => Self::List(values.iter().map(Self::copy).collect()),
            Self::Map(values) => {
                Self::Map(values.iter().map(|(name, value)| (name.clone(), value.copy())).collect())
            }
        }
    }

    /// Tells whether both are the same, in structure and bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Number(one), Self::Number(other)) | (Self::Bytes(one), Self::Bytes(other)) => {
                one.expose_secret() == other.expose_secret()
            }
            (Self::List(one), Self::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
            }
            (Self::Map(one), Self::Map(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|((name, one), (other_name, other))| name == other_name && one.is_same(other))
            }
            _ => false,
        }
    }

    /// Returns a view that `serde` can write, secrets included. Named for what it does: look for it in an audit.
    pub fn expose(&self) -> Exposed<'_> {
        Exposed(self)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(SecretValue::copy_of(text.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl ValueVisitor {
    fn number(value: impl fmt::Display) -> Value {
        Value::Number(value.to_string().into())
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Deserialize::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Bytes(value.into()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(SecretValue::copy_of(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            map.insert(name, value);
        }
        Ok(Value::Map(map))
    }
}

/// A value whose secrets `serde` may write. Made by [`Value::expose`].
#[derive(Clone, Copy, Debug)]
pub struct Exposed<'a>(&'a Value);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |value: &'_ SecretValue| match value.expose_text() {
            Some(_) => Ok(()),
            None => Err(S::Error::custom("the value is not UTF-8 text")),
        };
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(value) => {
                let digits = value.expose_text().unwrap_or_default();
                match (digits.parse::<i64>(), digits.parse::<u64>(), digits.parse::<f64>()) {
                    (Ok(number), _, _) => serializer.serialize_i64(number),
                    (_, Ok(number), _) => serializer.serialize_u64(number),
                    (_, _, Ok(number)) if number.is_finite() => serializer.serialize_f64(number),
                    // Beyond what a number can hold there, which would become null.
                    _ => serializer.serialize_str(digits),
                }
            }
            Value::Bytes(value) => {
                text(value)?;
                serializer.serialize_str(value.expose_text().unwrap_or_default())
            }
            Value::List(values) => serializer.collect_seq(values.iter().map(Exposed)),
            Value::Map(values) => {
                serializer.collect_map(values.iter().map(|(name, value)| (name, Exposed(value))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(json: &str) -> Vec<u8> {
        let value: Value = serde_json::from_str(json).unwrap();
        value.to_bytes().unwrap().expose_secret().to_vec()
    }

    #[test]
    fn scalars_are_delivered_by_their_text_and_structures_as_json() {
        assert_eq!(bytes(r#""a\nb""#), b"a\nb");
        assert_eq!(bytes("18446744073709551615"), b"18446744073709551615");
        assert_eq!(bytes("1.5"), b"1.5");
        assert_eq!(bytes("true"), b"true");
        assert_eq!(bytes("null"), b"");
        assert_eq!(bytes(r#"{"b": [1, "x", null], "a": {}}"#), br#"{"a":{},"b":[1,"x",null]}"#);
    }

    #[test]
    fn a_number_beyond_all_bounds_does_not_become_null() {
        let list = Value::List(vec![Value::Number(SecretValue::copy_of(b"1e999"))]);
        assert_eq!(list.to_bytes().unwrap().expose_secret(), br#"["1e999"]"#);
    }

    #[test]
    fn debug_shows_no_value() {
        let value: Value = serde_json::from_str(r#"{"pin": 4711, "word": "hunter2"}"#).unwrap();
        let shown = format!("{value:?} {:?}", value.expose());
        assert!(!shown.contains("4711") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn bytes_that_are_no_text_stay_whole_and_out_of_json() {
        let value = Value::Bytes(SecretValue::copy_of(&[0xff, 0]));
        assert_eq!(value.to_bytes().unwrap().expose_secret(), [0xff, 0]);
        assert!(Value::List(vec![value]).to_bytes().is_none());
    }
}
