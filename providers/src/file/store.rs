//! Writes JSON files, plain or encrypted, by compare-and-set: what a file is at is the digest of its bytes.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::error::{Error, ErrorKind, Result};
use keywheel_core::fingerprint::digest;
use keywheel_core::provider::Provider;
use keywheel_core::reference::SecretRef;
use keywheel_core::rotation::{Document, Fields, Revision, Store, copy};
use keywheel_core::secret::Secret;
use keywheel_core::value::Value;
use zeroize::Zeroizing;

use super::folder::{self, Folder, Found};
use super::format::{self, Format};
use super::place::Place;
use super::{Files, Settings, decrypt, encrypt};

#[async_trait]
impl Store for Files {
    fn validate(&self, target: &SecretRef) -> Result<()> {
        Provider::validate(self, target)?;
        let sheet = self.sheet(target)?;
        if folder::is_own(sheet.place.name()) {
            let error = Error::config("check target", "the file is one that rotations make for themselves");
            return Err(self.at(target, error));
        }
        Ok(())
    }

    async fn record_of(&self, target: &SecretRef) -> Result<SecretRef> {
        let name = folder::record_of(&self.sheet(target)?.place.name().to_string_lossy());
        let record = Path::new(target.path()).with_file_name(name);
        target.at(&record.to_string_lossy()).map_err(|error| self.at(target, error))
    }

    async fn look(&self, place: &SecretRef) -> Result<Document> {
        let sheet = self.sheet(place)?;
        self.blocking("read", move || sheet.look()).await.map_err(|error| self.at(place, error))
    }

    async fn write(
        &self,
        place: &SecretRef,
        fields: &Fields,
        expected: &Revision,
        _token: &str,
    ) -> Result<Revision> {
        let (sheet, fields, expected) = (self.sheet(place)?, Value::Map(copy(fields)), expected.clone());
        let written = self.blocking("write", move || sheet.write(&fields, &expected));
        written.await.map_err(|error| self.at(place, error))
    }
}

impl Files {
    fn sheet(&self, reference: &SecretRef) -> Result<Sheet> {
        let place = self.place(reference)?;
        let name = place.name().to_string_lossy();
        let (is_encrypted, format) = Format::of(folder::recorded_by(&name).unwrap_or(&name));
        if format != Format::Json {
            let reason = "only JSON files are written: the name has to end in `.json`, or `.json.age`";
            return Err(self.at(reference, Error::config("check target", reason)));
        }
        Ok(Sheet { is_encrypted, place, settings: Arc::clone(&self.settings) })
    }
}

/// A JSON file that may be written.
struct Sheet {
    place: Place,
    is_encrypted: bool,
    settings: Arc<Settings>,
}

impl Sheet {
    fn look(&self) -> Result<Document> {
        let folder = Folder::of(&self.place)?;
        folder.tidy();
        let found = self.find(&folder)?;
        let revision = revision(found.as_ref());
        let Some(found) = found else { return Ok(Document { fields: None, revision, written_at: None }) };
        let written_at = found.metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let identities = self.settings.identity_file.as_deref();
        let plain = match self.is_encrypted {
            true => decrypt::decrypt(&found.bytes, identities),
            false => Ok(found.bytes),
        };
        let fields = plain.and_then(|plain| format::parse(plain, Format::Json));
        let fields = fields.map_err(|error| self.at(error))?;
        Ok(Document { fields: Some(fields), revision, written_at })
    }

    fn write(&self, fields: &Value, expected: &Revision) -> Result<Revision> {
        let folder = Folder::of(&self.place)?;
        folder.lock()?;
        let old = self.find(&folder)?;
        if revision(old.as_ref()) != *expected {
            let reason = "the file is another one by now";
            return Err(self.at(Error::new(ErrorKind::Conflict, "write", reason)));
        }
        let bytes = self.encode(fields, old.as_ref()).map_err(|error| self.at(error))?;
        folder.replace(&bytes, old.as_ref().map(|old| &old.metadata))?;
        Ok(Revision::new(digest(&bytes)))
    }

    fn find(&self, folder: &Folder) -> Result<Option<Found>> {
        folder.find(if self.is_encrypted { decrypt::MAX_BYTES } else { Secret::MAX_BYTES })
    }

    fn encode(&self, fields: &Value, old: Option<&Found>) -> Result<Zeroizing<Vec<u8>>> {
        let plain = serde_json::to_vec_pretty(&fields.expose())
            .map(Zeroizing::new)
            .map_err(|_| Error::new(ErrorKind::Invalid, "write", "a field holds bytes that JSON cannot"))?;
        if plain.len() > Secret::MAX_BYTES {
            let reason =
                format!("the file would have {} bytes, and {} are allowed", plain.len(), Secret::MAX_BYTES);
            return Err(Error::new(ErrorKind::Invalid, "write", reason));
        }
        match self.is_encrypted {
            true => encrypt::encrypt(&plain, old.map(|old| old.bytes.as_slice()), &self.settings),
            false => Ok(plain),
        }
    }

    fn at(&self, error: Error) -> Error {
        error.with("file", self.place.full_path().display())
    }
}

fn revision(found: Option<&Found>) -> Revision {
    found.map_or_else(|| Revision::new("none"), |found| Revision::new(digest(&found.bytes)))
}
