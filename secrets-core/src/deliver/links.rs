//! Steps 7 and 8: the visible links `NAME -> ..data/NAME`.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, readlinkat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::failure::{Failure, OPERATION};
use super::folder;
use super::generation::{DATA, DATA_TMP};
use super::remove;
use super::step::Step;
use crate::error::{Error, ErrorKind, Result};
use crate::payload::{FilePath, Payload};

/// Returns the names that are visible for `payload`: the first component of every path.
pub(super) fn visible(payload: &Payload) -> BTreeSet<&str> {
    payload.files.keys().map(FilePath::top).collect()
}

/// Returns the names that are visible for the generation in `current`; at most [`MOST_VISIBLE`] of them.
pub(super) fn visible_in(current: &OwnedFd) -> Result<BTreeSet<String>, Failure> {
    let failed = || Failure::of("list", "the current generation");
    let mut visible = BTreeSet::new();
    for entry in folder::entries(current).map_err(failed())?.take(MOST_VISIBLE) {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_str().ok();
        visible.extend(name.and_then(|name| name.parse::<FilePath>().ok()).map(|path| path.to_string()));
    }
    Ok(visible)
}

/// Refuses when something else than a link is where one of `names` has to be.
pub(super) fn refuse_foreign(root: &OwnedFd, names: &BTreeSet<&str>) -> Result<()> {
    for &name in names {
        let found = match folder::kind(root, name).map_err(Failure::of("look at", name))? {
            None | Some(FileType::Symlink) => continue,
            Some(FileType::RegularFile) => "a file",
            Some(FileType::Directory) => "a folder",
            Some(_) => "a special file",
        };
        return Err(Error::new(
            ErrorKind::Deliver,
            OPERATION,
            format!("{found} that Keywheel did not make is in the place of {name:?}"),
        )
        .with_help("move it away, or deliver to a directory of its own"));
    }
    Ok(())
}

/// Makes the links for `wanted` that are missing or wrong (step 7), each by one call, and removes those that lead nowhere (step 8).
///
/// Everything that can be done is done before the first failure is returned.
pub(super) fn mend(root: &OwnedFd, wanted: &BTreeSet<&str>) -> Result<(), Failure> {
    let made: Vec<Failure> = wanted.iter().filter_map(|name| make(root, name).err()).collect();
    Step::Linked.done(DATA);
    let removed = remove_dead(root, wanted);
    Step::Unlinked.done(DATA);
    made.into_iter().next().map_or(removed, Err)
}

fn make(root: &OwnedFd, name: &str) -> Result<(), Failure> {
    let failed = || Failure::of("link", name);
    let target = format!("{DATA}/{name}");
    match readlinkat(root, name, Vec::new()) {
        Ok(is) if is.as_bytes() == target.as_bytes() => return Ok(()),
        Err(Errno::NOENT) => return symlinkat(&target, root, name).map_err(failed()),
        Ok(_) => {}
        Err(Errno::INVAL) => return Err(failed()(Errno::EXIST)),
        Err(errno) => return Err(failed()(errno)),
    }
    remove::tree(root, DATA_TMP)?;
    symlinkat(&target, root, DATA_TMP).map_err(failed())?;
    renameat(root, DATA_TMP, root, name).map_err(failed())
}

/// Removes the links into `..data/` whose first component there is not in `wanted`; no other link is ours.
fn remove_dead(root: &OwnedFd, wanted: &BTreeSet<&str>) -> Result<(), Failure> {
    let failed = || Failure::of("list", ".");
    let mut first = Ok(());
    for entry in folder::entries(root).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name();
        if !matches!(entry.file_type(), FileType::Symlink | FileType::Unknown) {
            continue;
        }
        let Ok(target) = readlinkat(root.as_fd(), name, Vec::new()) else {
            continue;
        };
        let leads_to = target.to_bytes().strip_prefix(b"..data/").map(|below| {
            let end = below.iter().position(|byte| *byte == b'/').unwrap_or(below.len());
            std::str::from_utf8(&below[..end])
        });
        let dead = matches!(leads_to, Some(top) if !top.is_ok_and(|top| wanted.contains(top)));
        if dead
            && let Err(errno) = unlinkat(root, name, AtFlags::empty())
            && first.is_ok()
        {
            first = Err(Failure::of("remove", name.to_string_lossy())(errno));
        }
    }
    first
}

/// How many names a planted generation can make visible; a payload of ours has fewer.
const MOST_VISIBLE: usize = 100_000;
