//! What a start does with what a crash left.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::atomic_dir::Settings;
use super::failure::Failure;
use super::generation::{Current, DATA_TMP, Generation};
use super::links;
use super::remove;

/// Brings the directory to what a completed write would have left, and `keep`, a generation that may have to come back. What cannot be removed or linked is logged: no reader sees it, and a later
/// write or start makes it good.
pub(super) fn recover(root: &OwnedFd, keep: Option<&Generation>, settings: &Settings) -> Result<(), Failure> {
    let current = Current::find(root)?;
    let visible = match &current {
        Some(current) => links::visible_in(&current.folder)?,
        None => BTreeSet::new(),
    };
    let visible = visible.iter().map(String::as_str).collect();
    let done = [
        remove::tree(root, DATA_TMP).map(drop),
        links::mend(root, &visible),
        remove::all_but(root, keep).map(drop),
    ];
    for failure in done.into_iter().filter_map(Result::err) {
        failure.log(settings, "recover");
    }
    Ok(())
}
