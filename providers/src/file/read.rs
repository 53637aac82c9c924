//! Reads a file or a folder into fields, within bounds.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use keywheel_core::error::{Error, ErrorKind, Result};
use keywheel_core::secret::{Secret, SecretValue};
use keywheel_core::value::Value;
use rustix::fs::FileType;
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::decrypt;
use super::folder::is_own;
use super::format::{self, Format};
use super::place::Place;

pub(super) type Fields = BTreeMap<String, Value>;

/// Reads what is at `place`, by its kind and name.
pub(super) fn secret_fields(place: &Place, identity_file: Option<&Path>) -> Result<Fields> {
    let file = place.open()?;
    let metadata = file.metadata().map_err(|error| place.failed(error))?;
    if metadata.is_dir() {
        return folder(place, &file);
    }
    let at = |error: Error| error.with("file", place.full_path().display());
    let name = place.name().to_string_lossy();
    let (encrypted, format) = Format::of(&name);
    let limit = if encrypted { decrypt::MAX_BYTES } else { Secret::MAX_BYTES };
    let mut bytes = regular_file(place, file, limit)?;
    if encrypted {
        bytes = decrypt::decrypt(&bytes, identity_file).map_err(at)?;
    }
    format::parse(bytes, format).map_err(at)
}

/// Reads a regular file of at most `limit` bytes into a buffer that is wiped.
pub(super) fn regular_file(place: &Place, mut file: File, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let at = |error: Error| error.with("file", place.full_path().display());
    let before = file.metadata().map_err(|error| place.failed(error))?;
    if !before.is_file() {
        return Err(at(Error::new(ErrorKind::Invalid, "read", "it is not a regular file")));
    }
    let size = usize::try_from(before.len()).unwrap_or(usize::MAX);
    if size > limit {
        let reason = format!("the file has {size} bytes and {limit} are allowed");
        return Err(at(Error::new(ErrorKind::Invalid, "read", reason)));
    }
    // One byte more than there should be, so that the buffer never grows and growth of the file is seen.
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(place.failed(error)),
        }
    }
    let after = file.metadata().map_err(|error| place.failed(error))?;
    if filled != size || !is_same(&before, &after) {
        return Err(at(unfinished("the file changed while it was read")));
    }
    bytes.truncate(size);
    Ok(bytes)
}

/// Makes the error for a file that somebody seems to be writing at this moment.
pub(super) fn unfinished(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "read", reason).with_temporary(true)
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    before.len() == after.len() && before.modified().ok() == after.modified().ok()
}

/// Reads a folder: one field per regular file, by its name.
///
/// 1. Where the folder has the layout of the kubelet's AtomicWriter, `..data` is followed once, and all fields are read from the one
///    generation that it names.
/// 2. Entries that begin with `..` are the layout's own and are skipped, and so are the records of rotations; other hidden files are fields;
///    subfolders, sockets and the like are skipped.
/// 3. When `..data` names another generation at the end, it all begins again: the old one may have been half gone.
fn folder(place: &Place, folder: &File) -> Result<Fields> {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let target = data_link(place, folder)?;
        let generation = match &target {
            Some(target) => place.join(target),
            None => place.clone(),
        };
        let fields = generation.open().and_then(|opened| files_in(&generation, &opened));
        if data_link(place, folder)? == target {
            return fields;
        }
    }
    Err(unfinished("the folder changes faster than it can be read").with("file", place.full_path().display()))
}

/// Returns what to join to the folder to be in its newest generation; `None` when it has no generations.
fn data_link(place: &Place, folder: &File) -> Result<Option<OsString>> {
    const DATA: &str = "..data";
    match rustix::fs::readlinkat(folder, DATA, Vec::new()) {
        Ok(target) => {
            let target = OsStr::from_bytes(target.as_bytes());
            let mut components = Path::new(target).components();
            let beside = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
            Ok(Some(if beside { target } else { OsStr::new(DATA) }.to_owned()))
        }
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(place.failed(errno)),
    }
}

fn files_in(place: &Place, folder: &File) -> Result<Fields> {
    let mut left = Secret::MAX_BYTES;
    let mut fields = Fields::new();
    for entry in rustix::fs::Dir::read_from(folder).map_err(|errno| place.failed(errno))? {
        let entry = entry.map_err(|errno| place.failed(errno))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let may_be_file =
            matches!(entry.file_type(), FileType::RegularFile | FileType::Symlink | FileType::Unknown);
        if !may_be_file || name.as_bytes().starts_with(b"..") || is_own(name) {
            continue;
        }
        let Some(value) = file_in(&place.join(name), left)? else {
            continue;
        };
        let at = |error: Error| error.with("file", place.full_path().display());
        let name = name
            .to_str()
            .ok_or_else(|| at(Error::new(ErrorKind::Invalid, "read", "a file's name is not UTF-8 text")))?;
        left -= value.len();
        fields.insert(name.to_owned(), Value::Bytes(value));
        if fields.len() > Secret::MAX_FIELDS {
            let reason = format!("the folder has more than {} files", Secret::MAX_FIELDS);
            return Err(at(Error::new(ErrorKind::Invalid, "read", reason)));
        }
    }
    if fields.is_empty() {
        return Err(unfinished("the folder has no files").with("file", place.full_path().display()));
    }
    Ok(fields)
}

/// Reads one file of a folder; `None` for what is no regular file.
fn file_in(place: &Place, limit: usize) -> Result<Option<SecretValue>> {
    let file = match place.open() {
        Ok(file) => file,
        // Listed a moment ago: it was removed since, or is a link to nowhere.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(unfinished("a file of the folder is gone, or a link to nowhere")
                .with("file", place.full_path().display()));
        }
        Err(error) => return Err(error),
    };
    if !file.metadata().map_err(|error| place.failed(error))?.is_file() {
        return Ok(None);
    }
    let bytes = regular_file(place, file, limit)?;
    Ok(Some(SecretValue::copy_of(&bytes)))
}
