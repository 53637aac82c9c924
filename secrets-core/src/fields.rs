//! The fields of a secret, in as little room as they need.

use std::collections::BTreeMap;
use std::ops::Index;
use std::slice;

use smol_str::SmolStr;

use crate::value::Value;

/// The values of a secret by their names, in the order of these. It does not change: a program may keep thousands, most of one field or two, and
/// the nodes of a [`BTreeMap`] have room for eleven.
#[derive(Debug)]
pub struct FieldMap(Box<[(SmolStr, Value)]>);

impl FieldMap {
    /// Returns the value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Tells whether there is a field of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the fields, each by its name.
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the values, in the order of their names.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Returns how many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Goes through fields in the order of their names.
pub type Iter<'a> =
    std::iter::Map<slice::Iter<'a, (SmolStr, Value)>, fn(&(SmolStr, Value)) -> (&str, &Value)>;

impl<'a> IntoIterator for &'a FieldMap {
    type Item = (&'a str, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl From<BTreeMap<String, Value>> for FieldMap {
    fn from(fields: BTreeMap<String, Value>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl From<FieldMap> for BTreeMap<String, Value> {
    fn from(fields: FieldMap) -> Self {
        fields.0.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }
}

impl Index<&str> for FieldMap {
    type Output = Value;

    /// # Panics
    /// There is no such field.
    fn index(&self, name: &str) -> &Value {
        match self.get(name) {
            Some(value) => value,
            None => panic!("the secret has no field {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_come_in_order() {
        let fields: BTreeMap<String, Value> =
            serde_json::from_str(r#"{"b": "2", "a": "1", "c": "3"}"#).unwrap();
        let fields = FieldMap::from(fields);
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        let bytes = |name: &str| fields[name].to_bytes().unwrap().expose_secret().to_vec();
        assert_eq!((bytes("a"), bytes("c"), fields.len()), (b"1".to_vec(), b"3".to_vec(), 3));
        assert!(fields.get("d").is_none() && !fields.contains_key("") && fields.contains_key("b"));
        let back = BTreeMap::from(fields);
        assert_eq!(back.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
