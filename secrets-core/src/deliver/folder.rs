//! Folders held open: every name is one component, used relative to one of them, and no link is followed.
//!
//! What `openat2` calls `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` holds here on every kernel: a path is walked component by component with
//! `O_DIRECTORY | O_NOFOLLOW`, and a [`FilePath`](crate::payload::FilePath) has no component that is empty, `.` or `..`, so that no step
//! leaves the folder that it starts from.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, statat,
};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// Opens the folder `name` of `parent`; a link in its place is an error.
pub(super) fn open(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd> {
    openat(parent, name, OPEN_FOLDER | OFlags::NOFOLLOW, Mode::empty())
}

/// Opens the delivery directory itself, whose path comes from the configuration and may lead through links.
pub(super) fn open_path(path: &std::path::Path) -> Result<OwnedFd> {
    openat(CWD, path, OPEN_FOLDER, Mode::empty())
}

/// Opens the folder at `components` below `top`.
pub(super) fn open_below<'a>(
    top: impl AsFd,
    components: impl Iterator<Item = &'a str>,
) -> Result<Option<OwnedFd>> {
    let mut folder: Option<OwnedFd> = None;
    for component in components {
        folder = Some(match &folder {
            Some(parent) => open(parent, component)?,
            None => open(&top, component)?,
        });
    }
    Ok(folder)
}

/// Makes the folder `name` in `parent`, where it must not be yet, and opens it.
pub(super) fn make(parent: impl AsFd, name: &str, permissions: Mode) -> Result<OwnedFd> {
    mkdirat(&parent, name, permissions)?;
    let folder = open(parent, name)?;
    set_permissions(&folder, permissions)?;
    Ok(folder)
}

/// Opens the folder `name` in `parent`, making it with 0755 where it is missing.
pub(super) fn enter(parent: impl AsFd, name: &str) -> Result<OwnedFd> {
    match make(&parent, name, EVERYBODY) {
        Err(Errno::EXIST) => open(parent, name),
        made => made,
    }
}

/// Sets the permissions whatever the umask is; a set-group-ID bit that the folder inherited stays.
pub(super) fn set_permissions(folder: impl AsFd, permissions: Mode) -> Result<()> {
    let now = Mode::from_raw_mode(fstat(&folder)?.st_mode);
    let wanted = permissions | (now & Mode::SGID);
    if now == wanted {
        return Ok(());
    }
    fchmod(folder, wanted)
}

/// Lists the entries of `folder`, without `.` and `..`.
pub(super) fn entries(folder: impl AsFd) -> Result<impl Iterator<Item = Result<DirEntry>>> {
    let own = |entry: &Result<DirEntry>| {
        entry.as_ref().is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
    };
    Ok(Dir::read_from(folder)?.filter(move |entry| !own(entry)))
}

/// Returns what kind of file `name` in `parent` is, or `None` when there is nothing; a link is a link.
pub(super) fn kind(parent: impl AsFd, name: impl Arg) -> Result<Option<FileType>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What every folder of a published generation has.
pub(super) const EVERYBODY: Mode = Mode::from_raw_mode(0o755);
/// What a generation's folder has until it is complete.
pub(super) const NOBODY_ELSE: Mode = Mode::from_raw_mode(0o700);

const OPEN_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
