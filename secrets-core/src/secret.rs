//! What a provider returns: values that are wiped when dropped and shown to nobody by accident.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};
use zeroize::Zeroize;

use crate::error::{Error, ErrorKind, Result};
use crate::fields::FieldMap;
use crate::lease::{Lease, Parent};
use crate::locked::Buffer;
use crate::reference::FieldPath;
use crate::value::Value;

/// Bytes of a secret, in a buffer that does not grow and is wiped when it is dropped.
///
/// It is in memory that is in no core dump and on no swap, and that no process can read through `/proc` where the kernel has
/// memfd_secret(2); as far as `RLIMIT_MEMLOCK` goes, beyond which it is on the heap and a warning says so.
///
/// There is no `Display`, `Serialize` or `Clone`, and `Debug` is redacted: [`expose_secret`](Self::expose_secret) is the
/// only door. What is *not* guaranteed: copies that a caller makes of the exposed bytes, and those that a library made
/// before the bytes came here.
pub struct SecretValue(SecretBox<Buffer>);

impl SecretValue {
    /// Copies `bytes` into a new value.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(SecretBox::new(Box::new(Buffer::copy_of(bytes))))
    }

    /// Returns the bytes themselves.
    pub fn expose_secret(&self) -> &[u8] {
        self.0.expose_secret().as_slice()
    }

    /// Returns the bytes as text, or `None` when they are not UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(self.expose_secret()).ok()
    }

    /// Returns how many bytes there are.
    pub fn len(&self) -> usize {
        self.expose_secret().len()
    }

    /// Tells whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.expose_secret().is_empty()
    }

    /// Tells whether these are the same bytes, in a time that depends on their number alone: nobody finds a value out by trying.
    pub fn is_equal(&self, other: &[u8]) -> bool {
        let own = self.expose_secret();
        let differing = own.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
        own.len() == other.len() && std::hint::black_box(differing) == 0
    }
}

impl From<Vec<u8>> for SecretValue {
    /// Copies the bytes, and wipes where they were.
    fn from(mut bytes: Vec<u8>) -> Self {
        let value = Self::copy_of(&bytes);
        bytes.zeroize();
        value
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// Names one state of a secret at its source, such as `3` for a KV v2 version.
///
/// Equal versions mean equal values. It holds nothing of the value: where a source has no versions, its provider makes one with a
/// [`Fingerprint`](crate::fingerprint::Fingerprint).
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct Version(SmolStr);

impl Version {
    /// Takes the source's own name for the version.
    pub fn new(name: impl fmt::Display) -> Self {
        Self(format_smolstr!("{name}"))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One read of a secret: its fields, and what the source said about them.
#[derive(Debug)]
pub struct Secret {
    fields: FieldMap,
    version: Version,
    /// How the value stays fresh.
    pub upkeep: Upkeep,
}

/// How the value of a secret stays fresh, as its source has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Upkeep {
    /// It is asked for at an interval; reading changes nothing at the source.
    Poll {
        /// When the source says that the value ends, where it says so.
        ends_at: Option<Timestamp>,
    },
    /// As [`Poll`](Self::Poll); and the source is to replace it by itself at a known moment.
    Turn {
        /// When, or a little later.
        at: Timestamp,
        /// How long it is from one such moment to the next, about.
        period: Duration,
    },
    /// A read makes a new value, which the source lets live as long as a lease says.
    Lease(Box<Lease>),
    /// A read makes a new value, which ends by itself: a certificate.
    Expiry {
        /// When it was made.
        began_at: Timestamp,
        /// When it ends.
        ends_at: Timestamp,
    },
    /// A read makes a new value, or uses something up, and nothing says that the value ends: it is read once. It is asked for at an interval
    /// whether there is another one, which makes none.
    Once,
}

impl Upkeep {
    /// Returns when the value ends, where that is known.
    pub fn deadline(&self, parent: Option<Parent>) -> Option<Timestamp> {
        match self {
            Self::Poll { ends_at } => *ends_at,
            Self::Turn { .. } | Self::Once => None,
            Self::Lease(lease) => lease.deadline(parent),
            Self::Expiry { ends_at, .. } => Some(*ends_at),
        }
    }

    /// Returns the lease, where the value has one.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Lease(lease) => Some(lease),
            _ => None,
        }
    }

    /// Tells whether reading the secret again would make another value, so that the present one is worth keeping over a restart.
    pub fn is_minted(&self) -> bool {
        matches!(self, Self::Lease(_) | Self::Expiry { .. } | Self::Once)
    }
}

impl Secret {
    /// The most bytes that all fields of a secret may have together: 1 MiB, which is also what Kubernetes allows a Secret.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The most fields that a secret may have.
    pub const MAX_FIELDS: usize = 4096;

    /// Makes a secret of what was read.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is larger than [`MAX_BYTES`](Self::MAX_BYTES) or has more than
    /// [`MAX_FIELDS`](Self::MAX_FIELDS) fields.
    pub fn try_new(fields: BTreeMap<String, Value>, version: Version) -> Result<Self> {
        let too_large = |reason: String| {
            Err(Error::new(ErrorKind::Invalid, "read", reason)
                .with_help("split the secret into smaller ones"))
        };
        if fields.len() > Self::MAX_FIELDS {
            return too_large(format!(
                "the secret has {} fields and {} are allowed",
                fields.len(),
                Self::MAX_FIELDS
            ));
        }
        let bytes: usize = fields.values().map(Value::size).sum();
        if bytes > Self::MAX_BYTES {
            return too_large(format!("the secret has {bytes} bytes and {} are allowed", Self::MAX_BYTES));
        }
        Ok(Self { fields: fields.into(), version, upkeep: Upkeep::Poll { ends_at: None } })
    }

    /// Returns the fields by name.
    pub fn fields(&self) -> &FieldMap {
        &self.fields
    }

    /// Returns the fields alone.
    pub fn into_fields(self) -> BTreeMap<String, Value> {
        self.fields.into()
    }

    /// Returns the state that the source was in.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Returns the value of one field: the exact name first, else a dotted path into a structured value, else, when it begins with
    /// `/`, a JSON pointer (RFC 6901).
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`]; the message names the fields that there are.
    pub fn field(&self, path: &FieldPath) -> Result<&Value> {
        path.find(|name| self.fields.get(name)).ok_or_else(|| {
            let reason =
                format!("the secret has no field {:?}; it has {}", path.as_str(), self.field_names());
            Error::new(ErrorKind::MissingField, "read", reason)
        })
    }

    /// Returns the bytes that a reference is about: the named field's, or without one those of the only field.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] when there is no such field, or when there are several and none is named; [`ErrorKind::Invalid`] for a structure that
    /// JSON cannot hold.
    pub fn value(&self, field: Option<&FieldPath>) -> Result<SecretValue> {
        let value = match (field, self.fields.values().next()) {
            (Some(field), _) => self.field(field)?,
            (None, Some(only)) if self.fields.len() == 1 => only,
            _ => {
                let reason = format!("the reference names no field; the secret has {}", self.field_names());
                return Err(Error::new(ErrorKind::MissingField, "read", reason)
                    .with_help("add #FIELD to the reference"));
            }
        };
        value.to_bytes().ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "read",
                "the field is a structure with bytes that JSON cannot hold",
            )
        })
    }

    fn field_names(&self) -> String {
        const SHOWN: usize = 20;
        let mut names: Vec<String> = self.fields.keys().take(SHOWN).map(|name| format!("{name:?}")).collect();
        match self.fields.len() {
            0 => "none".into(),
            all => {
                if all > SHOWN {
                    names.push(format!("{} more", all - SHOWN));
                }
                names.join(", ")
            }
        }
    }
}
