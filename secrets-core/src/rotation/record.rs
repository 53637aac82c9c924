//! What is known of a rotation, as it is written down beside the secret that it is about.
//!
//! The record has the fields `record` (the course, in JSON, without a secret), and as long as they are needed `new` and `old` (the values of the
//! rotation that is under way, under the strategy's names).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::course::{Course, Phase};
use super::hold::Hold;
use super::store::{Fields, copy};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::SecretValue;
use crate::value::Value;

/// What is known of a rotation.
#[derive(Debug)]
pub(super) struct Record {
    /// The path of what is rotated, where the record is not beside it: its place tells nothing then.
    pub(super) about: Option<String>,
    pub(super) course: Course,
    pub(super) hold: Option<Hold>,
    /// When a rotator first looked at the target.
    pub(super) seen_at: Timestamp,
    pub(super) new: Option<Fields>,
    pub(super) old: Option<Fields>,
}

#[derive(Deserialize, Serialize)]
struct Written {
    about: Option<String>,
    course: Course,
    hold: Option<Hold>,
    seen_at: Timestamp,
}

impl Record {
    /// Makes the record of what nobody has rotated yet.
    pub(super) fn first(about: Option<String>, now: Timestamp) -> Self {
        Self { about, course: Course::default(), hold: None, seen_at: now, new: None, old: None }
    }

    /// Tells whether nothing was ever begun.
    pub(super) fn is_unused(&self) -> bool {
        matches!(self.course.phase(), Phase::Idle) && self.course.last().is_none()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: somebody else wrote there.
    pub(super) fn parse(mut fields: Fields) -> Result<Self> {
        let written = match fields.get(RECORD) {
            Some(Value::Bytes(text)) => serde_json::from_slice(text.expose_secret()).ok(),
            _ => None,
        };
        let Written { about, course, hold, seen_at } = written.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "rotate", "what is there is no record of a rotation")
                .with_help("remove it, if nobody needs it, and see to the credentials yourself")
        })?;
        let mut values = |name| match fields.remove(name) {
            Some(Value::Map(values)) => Some(values),
            _ => None,
        };
        Ok(Self { about, course, hold, seen_at, new: values(NEW), old: values(OLD) })
    }

    /// Writes it.
    pub(super) fn to_fields(&self) -> Result<Fields> {
        let Self { about, course, hold, seen_at, .. } = self;
        let (about, course, hold) = (about.clone(), course.clone(), hold.clone());
        let written = Written { about, course, hold, seen_at: *seen_at };
        let text = serde_json::to_vec(&written)
            .map_err(|_| Error::new(ErrorKind::Invalid, "rotate", "the record cannot be written"))?;
        let mut fields = Fields::from([(RECORD.to_owned(), Value::Bytes(SecretValue::from(text)))]);
        for (name, values) in [(NEW, &self.new), (OLD, &self.old)] {
            if let Some(values) = values {
                fields.insert(name.to_owned(), Value::Map(copy(values)));
            }
        }
        Ok(fields)
    }
}

const RECORD: &str = "record";
const NEW: &str = "new";
const OLD: &str = "old";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_shows_no_value() {
        let values = |json: &str| serde_json::from_str::<Fields>(json).unwrap();
        let record = Record {
            new: Some(values(r#"{"password": "n3w"}"#)),
            old: Some(values(r#"{"password": "0ld", "port": 5432}"#)),
            ..Record::first(Some("a".into()), Timestamp::UNIX_EPOCH)
        };
        let read = Record::parse(record.to_fields().unwrap()).unwrap();
        assert_eq!((&read.course, &read.about), (&record.course, &record.about));
        let text = |fields: &Option<Fields>, name: &str| {
            fields.as_ref().unwrap()[name].to_bytes().unwrap().expose_text().unwrap().to_owned()
        };
        assert_eq!(text(&read.new, "password"), "n3w");
        assert_eq!(text(&read.old, "port"), "5432");
        let shown = format!("{read:?}");
        assert!(!shown.contains("n3w") && !shown.contains("0ld"), "{shown}");
    }

    #[test]
    fn what_somebody_else_wrote_is_no_record() {
        let other = serde_json::from_str::<Fields>(r#"{"record": "mine", "password": "x"}"#).unwrap();
        assert_eq!(Record::parse(other).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
