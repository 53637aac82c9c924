//! Values by name, as serde takes them.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, VariantAccess, Visitor};

use super::Typed;
use super::failure::Unfit;
use crate::value::Value;

/// Hands out values, each with its name.
pub(super) struct Fields<'a, I> {
    left: I,
    next: Option<(&'a str, &'a Value)>,
}

impl<'a, I: Iterator<Item = (&'a str, &'a Value)>> Fields<'a, I> {
    pub(super) fn new(values: impl IntoIterator<IntoIter = I>) -> Self {
        Self { left: values.into_iter(), next: None }
    }
}

impl<'a, I: Iterator<Item = (&'a str, &'a Value)>> MapAccess<'a> for Fields<'a, I> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        let Some((name, value)) = self.left.next() else { return Ok(None) };
        self.next = Some((name, value));
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Unfit> {
        let (name, value) = self.next.take().unwrap_or(("", &Value::Null));
        seed.deserialize(Typed(value)).map_err(|unfit| unfit.within(name))
    }
}

/// A variant of an enum that has a value.
pub(super) struct Variant<'a> {
    name: &'a str,
    value: &'a Value,
}

impl<'a> Variant<'a> {
    pub(super) fn new(name: &'a str, value: &'a Value) -> Self {
        Self { name, value }
    }
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Unfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Unfit> {
        Ok((seed.deserialize(StrDeserializer::<Unfit>::new(self.name))?, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        Err(Typed(self.value).unfit("a variant without a value").within(self.name))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(Typed(self.value)).map_err(|unfit| unfit.within(self.name))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Unfit> {
        Typed(self.value).deserialize_any(visitor).map_err(|unfit| unfit.within(self.name))
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        Typed(self.value).deserialize_any(visitor).map_err(|unfit| unfit.within(self.name))
    }
}
