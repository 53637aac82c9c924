//! The volume that a delivery directory is on: memory or disk, and how much room it has.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};
use rustix::io::Errno;

use super::failure::{Failure, OPERATION};
use super::folder;
use crate::error::{Error, Result};

/// A volume, as far as a delivery has to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    /// What the kernel calls `f_type` (statfs(2)).
    magic: u32,
}

impl Volume {
    /// Looks at the volume that `folder` is on.
    pub(super) fn of(folder: impl AsFd) -> Result<Self, Errno> {
        let magic = fstatfs(folder)?.f_type;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "magics have 32 bits; the field's width differs by platform"
        )]
        Ok(Self { magic: magic as u32 })
    }

    /// Tells whether the volume lives in memory and is gone with the machine's power.
    pub(super) fn is_memory(self) -> bool {
        matches!(self.magic, TMPFS | RAMFS)
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(magic, _)| *magic == self.magic) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "a file system of type {:#x}", self.magic),
        }
    }
}

/// Checks that `directory` is on a memory-backed volume, or will be when it is made, unless a disk is allowed. Writes nothing.
pub(super) fn check(directory: &Path, allow_disk: bool) -> Result<()> {
    nearest(directory, allow_disk).map(drop)
}

/// Opens `directory`, making it and its missing parents with 0755, once its volume is checked.
pub(super) fn open_or_make(directory: &Path, allow_disk: bool) -> Result<(OwnedFd, Volume)> {
    let (mut folder, missing) = nearest(directory, allow_disk)?;
    for path in missing.iter().rev() {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Error::config(OPERATION, format!("{} cannot be made; its name is no plain text", path.display()))
        })?;
        folder = folder::enter(&folder, name).map_err(Failure::of("make", path.display()))?;
    }
    let failed = || Failure::of("open", directory.display());
    let folder = openat(&folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed())?;
    let volume = Volume::of(&folder).map_err(failed())?;
    refuse_disk(volume, allow_disk)?;
    Ok((folder, volume))
}

/// Opens the nearest folder on the way to `directory` that there is, and returns the paths that are missing below it, longest first.
pub(super) fn nearest(directory: &Path, allow_disk: bool) -> Result<(OwnedFd, Vec<PathBuf>)> {
    let mut missing = Vec::new();
    for ancestor in directory.ancestors() {
        let path = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = || Failure::of("open", path.display());
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(folder) => {
                refuse_disk(Volume::of(&folder).map_err(failed())?, allow_disk)?;
                return Ok((folder, missing));
            }
            Err(Errno::NOENT) => missing.push(path.to_path_buf()),
            Err(errno) => return Err(failed()(errno).into()),
        }
    }
    Err(Failure::of("open", directory.display())(Errno::NOENT).into())
}

fn refuse_disk(volume: Volume, allow_disk: bool) -> Result<()> {
    if allow_disk || volume.is_memory() {
        return Ok(());
    }
    Err(Error::config(OPERATION, format!("the directory is on {volume}, which is not kept in memory"))
        .with_help("mount a tmpfs there, or say `allow_disk: true` where secrets may be written to a disk"))
}

// linux/magic.h
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;
const NAMES: [(u32, &str); 13] = [
    (TMPFS, "tmpfs"),
    (RAMFS, "ramfs"),
    (0x0000_ef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlayfs"),
    (0x6573_5546, "FUSE"),
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x9584_58f6, "hugetlbfs"),
];
