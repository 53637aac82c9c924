//! Names for values: a keyed hash as the version of what has none, so that a change is seen and nothing can be guessed from it; and a digest of
//! what nobody can guess.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use sha2::{Digest, Sha256};

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
        self.version_without(fields, &[])
    }

    /// Returns the version of `fields` but those of `names`: they change without the secret being another one.
    pub fn version_without(&self, fields: &BTreeMap<String, Value>, names: &[&str]) -> Version {
        let mut hasher = self.0.build_hasher();
        let counted = fields.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        hash_entries(counted, &mut hasher);
        Version::new(format_args!("{:016x}", hasher.finish()))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// Returns a name for `value` that is the same in every process: the first half of its SHA-256 in hexadecimal. Only for what is public, or what
/// nobody can guess, such as a token.
pub fn digest(value: &[u8]) -> String {
    hex(&Sha256::digest(value)[..16])
}

/// Writes bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

fn hash_entries<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>, hasher: &mut impl Hasher) {
    let mut count = 0;
    for (name, value) in entries {
        name.hash(hasher);
        hash_value(value, hasher);
        count += 1;
    }
    hasher.write_usize(count);
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
        Value::Map(values) => hash_entries(values.iter(), hasher),
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

    /// Records of the state have such names: another one would make them those of secrets that nobody has.
    #[test]
    fn a_digest_is_the_same_for_ever() {
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
