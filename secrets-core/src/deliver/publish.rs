//! Steps 2 to 6: a new generation is written where nobody sees it, and one rename makes it current.

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
    /// Publishes, or leaves nothing behind.
    pub(super) fn publish(&self, names: &mut Names) -> Result<Generation, Failure> {
        // 2
        let (generation, manifest, folder) = self.make_folder(names)?;
        Step::FolderMade.done(generation.as_str());
        let swapped = self.fill(&folder, &generation, &manifest).and_then(|()| self.swap(&generation));
        if swapped.is_err() {
            for name in [DATA_TMP, generation.as_str()] {
                if let Err(failure) = remove::tree(self.root, name) {
                    failure.log(self.settings, "discard the new generation");
                }
            }
        }
        swapped.map(|()| generation)
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

    fn swap(&self, generation: &Generation) -> Result<(), Failure> {
        // 5
        remove::tree(self.root, DATA_TMP)?;
        let is = folder::kind(self.root, DATA).map_err(Failure::of("look at", DATA))?;
        if is.is_some_and(|is| is != FileType::Symlink) {
            // A link cannot be renamed over a folder. Nothing was current, so that nothing changes for a reader.
            remove::tree(self.root, DATA)?;
        }
        symlinkat(generation.as_str(), self.root, DATA_TMP).map_err(Failure::of("make", DATA_TMP))?;
        if self.durable {
            fsync(self.root).map_err(Failure::of("sync", DATA_TMP))?;
        }
        Step::TemporaryLinked.done(DATA_TMP);
        // 6
        renameat(self.root, DATA_TMP, self.root, DATA).map_err(Failure::of("replace", DATA))?;
        Step::Published.done(generation.as_str());
        if self.durable
            && let Err(errno) = fsync(self.root)
        {
            Failure::of("sync", DATA)(errno)
                .log(self.settings, "make sure that the change survives a power cut");
        }
        Ok(())
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
            .with_help("the files stay as they were; make the volume larger"),
        }
    }
}

/// How many names are tried for a generation: more than one only when somebody planted them.
const MOST_TRIES: u32 = 16;
