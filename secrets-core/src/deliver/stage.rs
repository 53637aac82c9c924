//! Steps 3 and 4: the files of a generation that nobody can see yet.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode as Permissions, OFlags, Uid, fchmod, fchown, fsync, openat};
use rustix::io::Errno;

use super::failure::Failure;
use super::folder;
use super::manifest::Manifest;
use super::step::Step;
use crate::payload::{FilePath, Mode, Owner, Payload};

/// The folder of a generation that is being written.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// The folder, which only its owner may enter until it is complete.
    pub(super) folder: &'a OwnedFd,
    /// Who gets the files.
    pub(super) owner: Option<Owner>,
    /// Whether everything is synced, since the volume is a disk.
    pub(super) durable: bool,
}

impl Stage<'_> {
    /// Writes all files, then the manifest, and opens the folder to readers.
    pub(super) fn fill(&self, payload: &Payload, manifest: &[u8]) -> Result<(), Failure> {
        // 3
        let mut nested: Option<(&str, OwnedFd)> = None;
        for (path, file) in &payload.files {
            let (parent, name) = split(path);
            if nested.as_ref().is_none_or(|(open, _)| *open != parent) {
                nested = self.enter(parent)?.map(|folder| (parent, folder));
            }
            let folder = nested.as_ref().map_or(self.folder, |(_, folder)| folder);
            self.write(folder, path.as_str(), name, file.content.expose_secret(), file.mode)?;
            Step::FileWritten.done(path.as_str());
        }
        // 4
        self.write(self.folder, Manifest::FILE, Manifest::FILE, manifest, Mode::DEFAULT)?;
        let failed = || Failure::of("complete", "the new generation");
        folder::set_permissions(self.folder, folder::EVERYBODY).map_err(failed())?;
        self.sync_folders(payload).map_err(failed())?;
        Step::ManifestWritten.done(Manifest::FILE);
        Ok(())
    }

    /// Opens the folder at `path` below the generation's, making what is missing; `None` for the generation's own.
    fn enter(&self, path: &str) -> Result<Option<OwnedFd>, Failure> {
        let mut folder: Option<OwnedFd> = None;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let parent = folder.as_ref().unwrap_or(self.folder);
            folder = Some(folder::enter(parent, name).map_err(Failure::of("make the folder", path))?);
        }
        Ok(folder)
    }

    /// Writes one file that must not be there yet. Its owner and then its mode are set before anybody can open it.
    fn write(
        &self,
        folder: &OwnedFd,
        path: &str,
        name: &str,
        bytes: &[u8],
        mode: Mode,
    ) -> Result<(), Failure> {
        let failed = |action| Failure::of(action, path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(folder, name, flags, Permissions::RUSR | Permissions::WUSR).map_err(failed("make"))?;
        let mut file = File::from(file);
        file.write_all(bytes)
            .map_err(|error| failed("write")(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if let Some(Owner { uid, gid }) = self.owner {
            fchown(&file, uid.map(Uid::from_raw), gid.map(Gid::from_raw)).map_err(|errno| {
                failed("change the owner of")(errno).with_help_on(
                    Errno::PERM,
                    "run as that user, give the program CAP_CHOWN, or leave `owner` out",
                )
            })?;
        }
        fchmod(&file, Permissions::from_raw_mode(mode.bits())).map_err(failed("set the mode of"))?;
        if self.durable {
            fsync(&file).map_err(failed("sync"))?;
        }
        Ok(())
    }

    fn sync_folders(&self, payload: &Payload) -> rustix::io::Result<()> {
        if !self.durable {
            return Ok(());
        }
        let mut synced = "";
        for path in payload.files.keys() {
            let (parent, _) = split(path);
            if parent == synced {
                continue;
            }
            synced = parent;
            let mut folder = self.folder.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
            for name in parent.split('/') {
                folder = folder::open(&folder, name)?;
                fsync(&folder)?;
            }
        }
        fsync(self.folder)
    }
}

fn split(path: &FilePath) -> (&str, &str) {
    path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()))
}
