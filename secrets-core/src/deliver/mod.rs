//! Delivery into a directory: whole generations, published by one rename.
//!
//! The layout is the one that the kubelet's `AtomicWriter` makes for projected volumes:
//!
//! ```text
//! /run/secrets/orders/
//!   ..data -> ..2026_11_22_07_00_00.123456789
//!   ..2026_11_22_07_00_00.123456789/{db-password,app.env,..manifest.json}
//!   db-password -> ..data/db-password
//!   app.env     -> ..data/app.env
//! ```
//!
//! A reader that takes one file opens it by its visible name. One that needs several files of one generation resolves `..data`
//! once (or keeps the folder open) and reads all of them there.
//!
//! The names `..data`, `..data_tmp` and those of generations belong to the layout, and so do visible links that point into `..data/`.
//! Everything else in the directory is foreign and is never touched. The application may be able to write to the volume, so nothing
//! that is found there is trusted: no link is followed, every name is used relative to a folder that is held open, and `..data` counts
//! only when it names a generation beside it.

mod atomic_dir;
mod compare;
mod examine;
mod failure;
mod folder;
mod generation;
mod links;
mod manifest;
mod mount;
mod publish;
mod recover;
mod remove;
mod retired;
mod room;
mod stage;
mod staged;
mod step;
mod swap;
mod volume;

pub use self::atomic_dir::{AtomicDir, Settings, Written};
pub use self::compare::{Change, ChangeKind};
pub use self::examine::examine;
pub use self::manifest::{Manifest, ManifestFile, ManifestSecret, SourceInfo, Sources};
pub use self::mount::missing_mount_options;
pub use self::staged::Staged;
use crate::error::Result;

/// Tells whether `name` has the form of a generation's name.
pub(crate) fn is_generation(name: &str) -> bool {
    generation::Generation::parse(name).is_some()
}

/// Checks that `path` is on a memory-backed volume, or will be when it is made.
pub(crate) fn memory_backed(path: &std::path::Path) -> Result<()> {
    volume::check(path, false)
}

/// Makes the folder at `path` and its missing parents, with 0755, on a memory-backed volume; one that is there stays as it is.
pub(crate) fn make_folder(path: &std::path::Path) -> Result<()> {
    volume::open_or_make(path, false).map(drop)
}
