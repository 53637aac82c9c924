//! Versions for sources that have none: a keyed hash of the values, so that a change is seen and nothing can be guessed from it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::secret::Version;
use crate::value::Value;

/// Makes versions of values by SipHash under a random key that lives and dies with the process.
///
/// Whoever sees a version learns whether two reads of this process were equal, and nothing else: without the key a guess cannot be
/// checked against it.
#[derive(Clone, Default)]
pub struct Fingerprint(RandomState);

impl Fingerprint {
    /// Returns the version of `fields`.
    pub fn version(&self, fields: &BTreeMap<String, Value>) -> Version {
        let mut hasher = self.0.build_hasher();
        hash_map(fields, &mut hasher);
        Version::new(format_args!("{:016x}", hasher.finish()))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint")
    }
}

fn hash_map(fields: &BTreeMap<String, Value>, hasher: &mut impl Hasher) {
    hasher.write_usize(fields.len());
    for (name, value) in fields {
        name.hash(hasher);
        hash_value(value, hasher);
    }
}

fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(value) => value.hash(hasher),
        Value::Number(value) | Value::Bytes(value) => value.expose_secret().hash(hasher),
        Value::List(values) => {
            hasher.write_usize(values.len());
            values.iter().for_each(|value| hash_value(value, hasher));
        }
        Value::Map(values) => hash_map(values, hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_equal_from_different_and_differs_between_keys() {
        let read = |json: &str| serde_json::from_str::<BTreeMap<String, Value>>(json).unwrap();
        let key = Fingerprint::default();
        assert_eq!(key.version(&read(r#"{"a": "1"}"#)), key.version(&read(r#"{"a": "1"}"#)));
        for other in [r#"{"a": 1}"#, r#"{"a": ["1"]}"#, r#"{"a": "1", "b": null}"#, r#"{"b": "1"}"#] {
            assert_ne!(key.version(&read(r#"{"a": "1"}"#)), key.version(&read(other)), "{other}");
        }
        assert_ne!(key.version(&read("{}")), Fingerprint::default().version(&read("{}")));
    }
}
