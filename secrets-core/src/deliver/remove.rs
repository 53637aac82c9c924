//! Removal of generations and of what a crash left: never through a link, with a bounded number of open files and calls.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::{Errno, Result as Called};

use super::failure::Failure;
use super::folder;
use super::generation::{Current, Generation};

/// Removes `name` from `root`, whatever it is, and tells whether there was anything.
///
/// A folder is emptied without recursion: what lies deeper than one level is moved up to its top first, so that depth costs neither
/// stack nor file descriptors.
pub(super) fn tree(root: &OwnedFd, name: &str) -> Result<bool, Failure> {
    Removal { calls_left: MOST_CALLS, moved: 0 }.remove(root, name).map_err(Failure::of("remove", name))
}

/// Removes everything in `root` that is named like a generation, apart from the current one and `keep`, and returns how much there was.
///
/// # Errors
/// The first that could not be removed, after all others were.
pub(super) fn all_but(root: &OwnedFd, keep: Option<&Generation>) -> Result<usize, Failure> {
    let failed = || Failure::of("list", ".");
    let mut names = Vec::new();
    for entry in folder::entries(root).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_str().ok().and_then(Generation::parse);
        names.extend(name.filter(|name| Some(name) != keep));
    }
    retired(root, &names)
}

/// Removes those of `names` that are not the current generation, and returns how many there were.
///
/// # Errors
/// The first that could not be removed, after all others were.
pub(super) fn retired(root: &OwnedFd, names: &[Generation]) -> Result<usize, Failure> {
    let current = Current::find(root)?;
    let mut removed = 0;
    let mut first = None;
    for name in names {
        if current.as_ref().is_some_and(|current| current.name == *name) {
            continue;
        }
        match tree(root, name.as_str()) {
            Ok(was_there) => removed += usize::from(was_there),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    first.map_or(Ok(removed), Err)
}

struct Removal {
    calls_left: u32,
    moved: u32,
}

impl Removal {
    fn remove(&mut self, root: &OwnedFd, name: &str) -> Called<bool> {
        match self.unlink(root, name) {
            Ok(()) => return Ok(true),
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(errno),
        }
        let top = folder::open(root, name)?;
        while self.pass(&top)? {}
        unlinkat(root, name, AtFlags::REMOVEDIR)?;
        Ok(true)
    }

    /// Removes the files of `top` and the folders in it that have none inside; tells whether it saw any entry.
    fn pass(&mut self, top: &OwnedFd) -> Called<bool> {
        let mut saw_any = false;
        for entry in folder::entries(top)? {
            let entry = entry?;
            saw_any = true;
            match self.unlink(top, entry.file_name()) {
                Err(Errno::ISDIR) => self.flatten(top, entry.file_name())?,
                Err(errno) if errno != Errno::NOENT => return Err(errno),
                _ => {}
            }
        }
        Ok(saw_any)
    }

    /// Empties the folder `name` of `top`, moving its folders up into `top`, and removes it.
    fn flatten(&mut self, top: &OwnedFd, name: &std::ffi::CStr) -> Called<()> {
        let folder = folder::open(top, name)?;
        for entry in folder::entries(&folder)? {
            let entry = entry?;
            match self.unlink(&folder, entry.file_name()) {
                Err(Errno::ISDIR) => self.move_up(&folder, entry.file_name(), top)?,
                Err(errno) if errno != Errno::NOENT => return Err(errno),
                _ => {}
            }
        }
        match unlinkat(top, name, AtFlags::REMOVEDIR) {
            // The next pass sees it again.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) | Ok(()) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn move_up(&mut self, from: &OwnedFd, name: &std::ffi::CStr, top: &OwnedFd) -> Called<()> {
        loop {
            self.count()?;
            self.moved += 1;
            let free = format!("..moved_{}", self.moved);
            match renameat(from, name, top, free) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(Errno::NOENT) | Ok(()) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn unlink(&mut self, parent: &OwnedFd, name: impl rustix::path::Arg) -> Called<()> {
        self.count()?;
        unlinkat(parent, name, AtFlags::empty())
    }

    /// Whoever adds files as fast as they are removed does not keep the program busy for ever.
    fn count(&mut self) -> Called<()> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or(Errno::NOTEMPTY)?;
        Ok(())
    }
}

const MOST_CALLS: u32 = 4_000_000;
