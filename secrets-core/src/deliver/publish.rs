//! Steps 2 to 6: a generation is written where nobody sees it, and one rename makes it current.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, fsync, renameat, symlinkat};
use rustix::io::Errno;

use super::atomic_dir::Settings;
use super::failure::{Failure, OPERATION};
use super::folder;
use super::generation::{DATA, DATA_TMP, Generation, Names};
use super::manifest::{Manifest, Sources};
use super::remove;
use super::room::Room;
use super::stage::Stage;
use super::step::Step;
use crate::error::{Error, ErrorKind};
use crate::payload::Payload;

/// What is published, and where.
#[derive(Debug)]
pub(super) struct Publication<'a> {
    pub(super) root: &'a OwnedFd,
    pub(super) settings: &'a Settings,
    /// Whether files and folders are synced, since the volume is a disk.
    pub(super) durable: bool,
    pub(super) payload: &'a Payload,
    pub(super) sources: &'a Sources,
}

impl Publication<'_> {
    /// Writes a generation that nobody sees yet (2 to 4), or leaves nothing behind.
    pub(super) fn stage(&self, names: &mut Names) -> Result<Generation, Failure> {
        // 2
        let (generation, manifest, folder) = self.make_folder(names)?;
        Step::FolderMade.done(generation.as_str());
        let filled = self.fill(&folder, &generation, &manifest);
        if filled.is_err() {
            discard(self.root, &generation, self.settings);
        }
        filled.map(|()| generation)
    }

    fn make_folder(&self, names: &mut Names) -> Result<(Generation, Vec<u8>, OwnedFd), Failure> {
        let mut tries = 0;
        loop {
            let (generation, manifest) = self.name(names)?;
            tries += 1;
            match folder::make(self.root, generation.as_str(), folder::NOBODY_ELSE) {
                Ok(folder) => return Ok((generation, manifest, folder)),
                Err(Errno::EXIST) if tries < MOST_TRIES => {}
                Err(errno) => return Err(Failure::of("make the folder", generation)(errno)),
            }
        }
    }

    fn fill(&self, folder: &OwnedFd, generation: &Generation, manifest: &[u8]) -> Result<(), Failure> {
        let (needed, free) = self.rooms(manifest.len())?;
        if !free.holds(needed) {
            return Err(Failure::of("write", generation)(Errno::NOSPC));
        }
        let stage = Stage { folder, owner: self.settings.owner, durable: self.durable };
        // 3 and 4
        stage.fill(self.payload, manifest)
    }

    /// Names the generation, and writes its manifest down.
    fn name(&self, names: &mut Names) -> Result<(Generation, Vec<u8>), Failure> {
        let (name, made_at) = names.next();
        let manifest = Manifest::new(&self.settings.name, &name, made_at, self.payload, self.sources);
        Ok((name, manifest.to_bytes()?))
    }

    fn rooms(&self, manifest: usize) -> Result<(Room, Room), Failure> {
        let measured = Room::needed(self.root, self.payload, manifest)
            .and_then(|needed| Ok((needed, Room::free(self.root)?)));
        measured.map_err(Failure::of("measure", "the volume"))
    }

    /// Says how much was needed and how much is free, where a full volume is what failed.
    pub(super) fn explain(&self, failure: Failure, names: &mut Names) -> Error {
        let measure = || {
            let (_, manifest) = self.name(names).ok()?;
            self.rooms(manifest.len()).ok()
        };
        match failure.is_full().then(measure).flatten() {
            None => failure.into(),
            Some((needed, free)) => Error::new(
                ErrorKind::Deliver,
                OPERATION,
                format!("the volume is full: {needed} are needed and {free} are free"),
            )
            .with_temporary(true)
            .with_help("the files stay as they were; make the volume larger (`sizeLimit` of an emptyDir, `size` of a tmpfs)"),
        }
    }
}

/// Makes `generation` the current one (5 and 6).
pub(super) fn swap(
    root: &OwnedFd,
    generation: &Generation,
    durable: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    // 5
    remove::tree(root, DATA_TMP)?;
    let is = folder::kind(root, DATA).map_err(Failure::of("look at", DATA))?;
    if is.is_some_and(|is| is != FileType::Symlink) {
        // A link cannot be renamed over a folder. Nothing was current, so that nothing changes for a reader.
        remove::tree(root, DATA)?;
    }
    symlinkat(generation.as_str(), root, DATA_TMP).map_err(Failure::of("make", DATA_TMP))?;
    if durable {
        fsync(root).map_err(Failure::of("sync", DATA_TMP))?;
    }
    Step::TemporaryLinked.done(DATA_TMP);
    // 6
    renameat(root, DATA_TMP, root, DATA).map_err(Failure::of("replace", DATA))?;
    Step::Published.done(generation.as_str());
    if durable && let Err(errno) = fsync(root) {
        Failure::of("sync", DATA)(errno).log(settings, "make sure that the change survives a power cut");
    }
    Ok(())
}

/// Removes a generation that did not become visible, with what was left on its way there.
pub(super) fn discard(root: &OwnedFd, generation: &Generation, settings: &Settings) {
    for name in [DATA_TMP, generation.as_str()] {
        if let Err(failure) = remove::tree(root, name) {
            failure.log(settings, "discard the new generation");
        }
    }
}

/// How many names are tried for a generation: more than one only when somebody planted them.
const MOST_TRIES: u32 = 16;
