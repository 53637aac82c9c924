//! The manifest of a generation: which versions and lease deadlines its files have, and no value.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use rustix::fs::{FileType, Mode as Permissions, OFlags, fstat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::folder;
use super::generation::Generation;
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;
use crate::secret::Version;

/// What a manifest says about the secrets of a delivery, by their names in it.
pub type Sources = BTreeMap<String, SourceInfo>;

/// Where the value of a secret comes from and how long it is good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceInfo {
    /// The reference, as configured.
    pub reference: String,
    /// The version that was read.
    pub version: Version,
    /// When the lease of that read ends, where it has one.
    pub lease_deadline: Option<Timestamp>,
}

/// The content of `..manifest.json`, as it was when its generation was written.
///
/// A lease that is renewed later changes no file, and so no manifest either.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Manifest {
    /// The version of this format: 1.
    pub version: u32,
    /// The delivery's name.
    pub delivery: String,
    /// The name of the generation's folder.
    pub generation: String,
    /// When the generation was made.
    pub created_at: Timestamp,
    /// Each file by its path.
    pub files: BTreeMap<String, ManifestFile>,
}

/// What a manifest says about one file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ManifestFile {
    /// Its permissions, as octal text.
    pub mode: String,
    /// The secrets that it was made of, by name.
    pub secrets: Vec<ManifestSecret>,
}

/// One secret in a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ManifestSecret {
    /// Its name in the delivery.
    pub name: String,
    /// The reference, as configured.
    pub reference: String,
    /// The version that was read.
    pub version: String,
    /// When the lease of that read ends; null without one.
    pub lease_deadline: Option<Timestamp>,
}

impl Manifest {
    /// The version of the format that is written.
    pub const VERSION: u32 = 1;

    /// The name of the file in the generation's folder.
    pub const FILE: &str = "..manifest.json";

    /// Describes `payload`; a secret that `sources` does not know is left out.
    pub(super) fn new(
        delivery: &str,
        generation: &Generation,
        created_at: Timestamp,
        payload: &Payload,
        sources: &Sources,
    ) -> Self {
        let secret = |name: &String| {
            let source = sources.get(name)?;
            Some(ManifestSecret {
                name: name.clone(),
                reference: source.reference.clone(),
                version: source.version.to_string(),
                lease_deadline: source.lease_deadline,
            })
        };
        let files = payload.files.iter().map(|(path, file)| {
            let described = ManifestFile {
                mode: file.mode.to_string(),
                secrets: file.secrets.iter().filter_map(secret).collect(),
            };
            (path.to_string(), described)
        });
        Self {
            version: Self::VERSION,
            delivery: delivery.into(),
            generation: generation.to_string(),
            created_at,
            files: files.collect(),
        }
    }

    /// Returns the bytes of the file: indented JSON with a newline at its end.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        let failed = Failure::of("write", Self::FILE);
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|_| failed(Errno::INVAL))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Tells whether `folder` holds a manifest.
    pub(super) fn is_in(folder: &OwnedFd) -> bool {
        folder::kind(folder, Self::FILE) == Ok(Some(FileType::RegularFile))
    }

    /// Reads the manifest of the generation in `folder`, or returns `None` when it has none.
    pub(super) fn read(folder: impl AsFd) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(folder, Self::FILE, flags, Permissions::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Failure::of("read", Self::FILE)(errno).into()),
        };
        let invalid = |reason: &str| Err(Error::new(ErrorKind::Invalid, "read manifest", reason));
        let stat = fstat(&file).map_err(Failure::of("read", Self::FILE))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return invalid("it is no regular file");
        }
        let mut bytes = Vec::new();
        let mut limited = std::fs::File::from(file).take(MAX_BYTES + 1);
        match limited.read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > MAX_BYTES => invalid("it is larger than 16 MiB"),
            Ok(_) => match serde_json::from_slice::<Self>(&bytes) {
                Ok(manifest) if manifest.version == Self::VERSION => Ok(Some(manifest)),
                Ok(_) => invalid("it has another version than 1"),
                Err(_) => invalid("it is not the JSON that a manifest is"),
            },
            Err(error) => Err(Error::new(ErrorKind::Invalid, "read manifest", error.kind().to_string())),
        }
    }
}

const MAX_BYTES: u64 = 16 << 20;
