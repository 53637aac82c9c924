//! Room on a volume: what a generation needs, and what there is.

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::AsFd;

use rustix::fs::fstatvfs;
use rustix::io::Errno;

use super::{folder, links};
use crate::payload::{FilePath, Payload};

/// An amount of room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Room {
    /// Bytes, in whole blocks.
    bytes: u64,
    /// Files, folders and links.
    files: u64,
}

impl Room {
    /// Returns what the generation of `payload`, whose folder is made, still needs on the volume of `folder`.
    pub(super) fn needed(folder: impl AsFd, payload: &Payload, manifest: usize) -> Result<Self, Errno> {
        let block = fstatvfs(&folder)?.f_frsize.max(1);
        let files = payload.files.values().map(|file| file.content.len());
        let sizes = files.chain([manifest]).map(|size| (size as u64).div_ceil(block) * block);
        let folders: BTreeSet<&str> = payload.files.keys().flat_map(parents).collect();
        let missing =
            links::visible(payload).into_iter().filter(|name| folder::kind(&folder, *name) == Ok(None));
        // The manifest and `..data_tmp` are two more.
        let files = payload.files.len() + folders.len() + missing.count() + 2;
        Ok(Self { bytes: sizes.sum(), files: files as u64 })
    }

    /// Returns what is free on the volume of `folder`. One that says nothing of its size (ramfs, or a tmpfs without a limit) has no limit.
    pub(super) fn free(folder: impl AsFd) -> Result<Self, Errno> {
        let volume = fstatvfs(folder)?;
        let unless = |unlimited: bool, free: u64| if unlimited { u64::MAX } else { free };
        Ok(Self {
            bytes: unless(volume.f_blocks == 0, volume.f_bavail.saturating_mul(volume.f_frsize)),
            files: unless(volume.f_files == 0, volume.f_favail),
        })
    }

    /// Tells whether there is an end to it.
    pub(super) fn is_limited(self) -> bool {
        self.bytes != u64::MAX
    }

    /// Tells whether this is enough for `needed`.
    pub(super) fn holds(self, needed: Self) -> bool {
        self.bytes >= needed.bytes && self.files >= needed.files
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files {
            u64::MAX => write!(f, "{} bytes", self.bytes),
            files => write!(f, "{} bytes and {files} files", self.bytes),
        }
    }
}

/// Returns the folders that `path` is in, below the generation's own.
fn parents(path: &FilePath) -> impl Iterator<Item = &str> {
    let path = path.as_str();
    path.match_indices('/').map(|(end, _)| &path[..end])
}
