//! Secrets in types of the caller's own, by serde: its fields are the fields of a struct.
//!
//! A value goes from where it is into the type, and through no text between. What a source has as text fits a number or a truth value where it reads as one, and
//! the other way round: sources differ in what they can say.

mod failure;
mod structure;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use self::failure::Unfit;
use self::structure::{Fields, Variant};
use crate::error::{Error, ErrorKind, Result};
use crate::reference::FieldPath;
use crate::secret::{Secret, SecretValue};
use crate::value::Value;

/// Reads what a reference is about into a `T`: the named field; or all fields, which a struct takes by name and anything else only where there is but one.
///
/// # Errors
/// [`ErrorKind::MissingField`] when there is no such field, and [`ErrorKind::Invalid`] where a value does not fit: which field, and what was expected, but
/// nothing of the value.
pub fn read<T: DeserializeOwned>(secret: &Secret, field: Option<&FieldPath>) -> Result<T> {
    let read = match field {
        Some(field) => T::deserialize(Typed(secret.field(field)?)),
        None => T::deserialize(Whole(secret)),
    };
    read.map_err(|unfit| {
        Error::new(ErrorKind::Invalid, "read", unfit.to_string())
            .with_help("compare the fields of the secret with those of the type")
    })
}

/// One value.
#[derive(Clone, Copy)]
struct Typed<'a>(&'a Value);

/// All fields of a secret.
struct Whole<'a>(&'a Secret);

impl<'a> Typed<'a> {
    /// Returns the text of what is no structure.
    fn text(self) -> Option<&'a str> {
        match self.0 {
            Value::Number(text) | Value::Bytes(text) => text.expose_text(),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Says what was found instead of `expected`, and nothing of what is in it.
    fn unfit(self, expected: &str) -> Unfit {
        let found = match self.0 {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::Bytes(value) if value.expose_text().is_none() => "bytes that are no text",
            Value::Bytes(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a structure",
        };
        Unfit::new(format_args!("expected {expected}, found {found}"))
    }
}

impl<'a> IntoDeserializer<'a, Unfit> for Typed<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Has a scalar of the type's own choice parsed from the value's text.
macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            let value = self.text().and_then(|text| text.parse::<$type>().ok());
            visitor.$visit(value.ok_or_else(|| self.unfit(stringify!($type)))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Unfit;

    parsed! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(_) => {
                let text = self.text().unwrap_or_default();
                match (text.parse(), text.parse(), text.parse()) {
                    (Ok(number), _, _) => visitor.visit_i64(number),
                    (_, Ok(number), _) => visitor.visit_u64(number),
                    (_, _, Ok(number)) => visitor.visit_f64(number),
                    _ => visitor.visit_borrowed_str(text),
                }
            }
            Value::Bytes(value) => match value.expose_text() {
                Some(text) => visitor.visit_borrowed_str(text),
                None => visitor.visit_borrowed_bytes(value.expose_secret()),
            },
            Value::List(values) => SeqDeserializer::new(values.iter().map(Typed)).deserialize_any(visitor),
            Value::Map(values) => {
                visitor.visit_map(Fields::new(values.iter().map(|(name, value)| (name.as_str(), value))))
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_borrowed_str(self.text().ok_or_else(|| self.unfit("a text"))?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::Bytes(value) => visitor.visit_borrowed_bytes(value.expose_secret()),
            _ => visitor.visit_borrowed_bytes(self.text().ok_or_else(|| self.unfit("bytes"))?.as_bytes()),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match (self.0, self.text()) {
            (Value::Map(values), _) => match values.first_key_value() {
                Some((name, value)) if values.len() == 1 => visitor.visit_enum(Variant::new(name, value)),
                _ => Err(self.unfit("a structure with one name")),
            },
            (_, Some(name)) => visitor.visit_enum(StrDeserializer::new(name)),
            _ => Err(self.unfit("the name of a variant")),
        }
    }

    forward_to_deserialize_any! { unit unit_struct seq tuple tuple_struct map struct ignored_any }
}

/// Has what is no structure take the only field.
macro_rules! only_field {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'a> Whole<'a> {
    fn only(&self) -> Result<Typed<'a>, Unfit> {
        match self.0.fields().values().next() {
            Some(value) if self.0.fields().len() == 1 => Ok(Typed(value)),
            _ => Err(Unfit::new(format_args!(
                "the reference names no field, and the secret has {}; add #FIELD to it",
                self.0.fields().len()
            ))),
        }
    }
}

impl<'de> Deserializer<'de> for Whole<'de> {
    type Error = Unfit;

    only_field! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_seq deserialize_unit
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_map(Fields::new(self.0.fields()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! { unit_struct tuple tuple_struct map struct identifier ignored_any }
}

impl<'de> serde::Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = SecretValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<SecretValue, E> {
        Ok(SecretValue::copy_of(bytes))
    }

    fn visit_str<E>(self, text: &str) -> Result<SecretValue, E> {
        Ok(SecretValue::copy_of(text.as_bytes()))
    }

    fn visit_string<E>(self, text: String) -> Result<SecretValue, E> {
        Ok(text.into())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<SecretValue, E> {
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests;
