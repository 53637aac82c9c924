//! Step 1: what differs between a payload and the current generation. Names only, never values.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode as Permissions, OFlags, fstat, openat};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::folder;
use super::manifest::Manifest;
use crate::payload::{FilePath, Owner, Payload, PayloadFile};

/// One file that a write changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The file's path below the delivery directory.
    pub path: String,
    /// What happens to it.
    pub kind: ChangeKind,
}

/// What a write does to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its bytes change; its mode and its owner may, too.
    Content,
    /// Its bytes stay and its permissions change.
    Mode,
    /// Its bytes and permissions stay and its owner changes.
    Owner,
    /// It goes.
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChangeKind::Added => "added",
            ChangeKind::Content => "changed",
            ChangeKind::Mode => "mode changed",
            ChangeKind::Owner => "owner changed",
            ChangeKind::Removed => "removed",
        };
        write!(f, "{kind}: {}", self.path.escape_debug())
    }
}

/// Returns what has to change in the generation in `current`, ordered by path; nothing when all is as wanted.
///
/// A file that cannot be read counts as changed, since writing it anew is what helps; so does, every time, one whose mode keeps even the
/// program itself from reading it.
pub(super) fn changes(current: Option<&OwnedFd>, payload: &Payload, owner: Option<Owner>) -> Vec<Change> {
    let mut found =
        current.map_or_else(BTreeSet::new, |folder| files(folder, components(payload) + MOST_EXTRA));
    found.remove(Manifest::FILE);
    let mut changes = Vec::new();
    for (path, file) in &payload.files {
        let kind = match current {
            Some(folder) if found.remove(path.as_str()) => difference(folder, path, file, owner),
            _ => Some(ChangeKind::Added),
        };
        changes.extend(kind.map(|kind| Change { path: path.to_string(), kind }));
    }
    changes.extend(found.into_iter().map(|path| Change { path, kind: ChangeKind::Removed }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

/// Lists the paths of everything below `top` that is no folder, and of folders that cannot be a payload's or cannot be listed. Looks at
/// `most` entries at most.
fn files(top: &OwnedFd, most: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![String::new()];
    let mut left = most;
    while let Some(prefix) = folders.pop() {
        match list(top, &prefix, left) {
            Ok(entries) => {
                left -= entries.len();
                for (path, is_folder) in entries {
                    if is_folder && path.parse::<FilePath>().is_ok() {
                        folders.push(path + "/");
                    } else {
                        found.insert(path);
                    }
                }
            }
            Err(_) => {
                found.insert(prefix);
            }
        }
    }
    found
}

/// Lists the folder at `prefix` (empty, or ending in `/`): the path of each entry, and whether it is a folder itself.
fn list(top: &OwnedFd, prefix: &str, most: usize) -> rustix::io::Result<Vec<(String, bool)>> {
    let components = prefix.split('/').filter(|component| !component.is_empty());
    let opened = folder::open_below(top, components)?;
    let folder = opened.as_ref().unwrap_or(top);
    let mut listed = Vec::new();
    for entry in folder::entries(folder)?.take(most) {
        let entry = entry?;
        let kind = match entry.file_type() {
            FileType::Unknown => folder::kind(folder, entry.file_name())?,
            kind => Some(kind),
        };
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        listed.push((path, kind == Some(FileType::Directory)));
    }
    Ok(listed)
}

/// Returns at least the number of files and folders that `payload` makes.
fn components(payload: &Payload) -> usize {
    payload.files.keys().map(|path| path.components().count()).sum()
}

fn difference(
    current: &OwnedFd,
    path: &FilePath,
    wanted: &PayloadFile,
    owner: Option<Owner>,
) -> Option<ChangeKind> {
    let Some((mut file, is)) = open(current, path).ok().flatten() else {
        return Some(ChangeKind::Content);
    };
    let Owner { uid, gid } = owner.unwrap_or_default();
    let bytes = wanted.content.expose_secret();
    if u64::try_from(is.st_size) != Ok(bytes.len() as u64) || !holds(&mut file, bytes) {
        Some(ChangeKind::Content)
    } else if is.st_mode & 0o7777 != wanted.mode.bits() {
        Some(ChangeKind::Mode)
    } else if is.st_uid != uid.unwrap_or_else(|| geteuid().as_raw())
        || gid.is_some_and(|gid| is.st_gid != gid)
    {
        Some(ChangeKind::Owner)
    } else {
        None
    }
}

/// Opens a regular file; anything else in its place (which might block, or lead elsewhere) is `None`.
fn open(top: &OwnedFd, path: &FilePath) -> rustix::io::Result<Option<(File, rustix::fs::Stat)>> {
    let mut components = path.components();
    let Some(name) = components.next_back() else {
        return Ok(None);
    };
    let opened = folder::open_below(top, components)?;
    let parent = opened.as_ref().unwrap_or(top).as_fd();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Permissions::empty())?;
    let stat = fstat(&file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(regular.then(|| (File::from(file), stat)))
}

/// Tells whether the rest of `file` is exactly `bytes`, reading through a buffer that is wiped.
fn holds(file: &mut File, mut bytes: &[u8]) -> bool {
    let mut buffer = Zeroizing::new([0; 8192]);
    loop {
        match file.read(&mut buffer[..]) {
            Ok(0) => return bytes.is_empty(),
            Ok(read) => match bytes.strip_prefix(&buffer[..read]) {
                Some(rest) => bytes = rest,
                None => return false,
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// How many entries beyond the payload's own are listed: enough to tell a difference, too few to be kept busy by a planted tree.
const MOST_EXTRA: usize = 10_000;
