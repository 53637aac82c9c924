//! Replaces files of a folder, each as a whole.
//!
//! 1. The folder is opened, beneath the root where there is one; nothing of what follows leaves it, and a link in it is not followed.
//! 2. It is locked (flock(2)), so that whoever looks at a file before replacing it replaces what it looked at. Who does not lock is not seen.
//! 3. The content is written to a file beside it that nobody else may open, which then gets the old one's owner and mode.
//! 4. That is synced and renamed over the old one, and the folder is synced.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use keywheel_core::error::{Error, ErrorKind, Result};
use rustix::fs::{self, AtFlags, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::place::Place;
use super::read::regular_file;

/// The folder of a file that is to be replaced.
pub(super) struct Folder {
    place: Place,
    folder: File,
}

/// A file as it was found.
pub(super) struct Found {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) metadata: Metadata,
}

impl Folder {
    /// Opens the folder of `place`.
    pub(super) fn of(place: &Place) -> Result<Self> {
        Ok(Self { folder: place.folder().open()?, place: place.clone() })
    }

    /// Keeps others who lock it away until this is dropped.
    pub(super) fn lock(&self) -> Result<()> {
        for _ in 0..TRIES {
            match fs::flock(&self.folder, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => std::thread::sleep(BETWEEN_TRIES),
                locked => return locked.map_err(self.failed("lock the folder of")),
            }
        }
        let reason = "another process keeps the folder locked";
        Err(Error::new(ErrorKind::Unavailable, "write", reason)
            .with("file", self.place.full_path().display()))
    }

    /// Reads the file, if it is there.
    pub(super) fn find(&self, limit: usize) -> Result<Option<Found>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match fs::openat(&self.folder, self.place.name(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                let reason = "it is a link, which is not followed to write: name the file itself";
                return Err(Error::config("write", reason).with("file", self.place.full_path().display()));
            }
            Err(errno) => return Err(self.place.failed(errno)),
        };
        let metadata = file.metadata().map_err(|error| self.place.failed(error))?;
        Ok(Some(Found { bytes: regular_file(&self.place, file, limit)?, metadata }))
    }

    /// Removes what a writer left that was killed, unless somebody is writing: it may hold values.
    pub(super) fn tidy(&self) {
        let draft = draft_of(self.place.name());
        let is_there = fs::statat(&self.folder, &draft, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if is_there && fs::flock(&self.folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Who may only read leaves it to the next write.
            fs::unlinkat(&self.folder, &draft, AtFlags::empty()).ok();
            fs::flock(&self.folder, FlockOperation::Unlock).ok();
        }
    }

    /// Replaces the file, or makes it with mode 0600; the folder has to be locked.
    pub(super) fn replace(&self, bytes: &[u8], old: Option<&Metadata>) -> Result<()> {
        let draft = draft_of(self.place.name());
        match fs::unlinkat(&self.folder, &draft, AtFlags::empty()) {
            // What a crash left: nobody else is here.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed("write")(errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            fs::openat(&self.folder, &draft, flags, Mode::RUSR | Mode::WUSR).map_err(self.failed("write"))?;
        let written = self.fill(file.into(), bytes, old).and_then(|()| {
            fs::renameat(&self.folder, &draft, &self.folder, self.place.name())
                .map_err(self.failed("replace"))
        });
        if written.is_err() {
            // The first error is the one to tell; what is left is removed by the next write.
            fs::unlinkat(&self.folder, &draft, AtFlags::empty()).ok();
        }
        written.and_then(|()| fs::fsync(&self.folder).map_err(self.failed("sync the folder of")))
    }

    fn fill(&self, mut file: File, bytes: &[u8], old: Option<&Metadata>) -> Result<()> {
        let io_failed =
            |error: std::io::Error| self.failed("write")(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        file.write_all(bytes).map_err(io_failed)?;
        if let Some(old) = old {
            let new = file.metadata().map_err(io_failed)?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                let (user, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
                fs::fchown(&file, Some(user), Some(group)).map_err(self.failed("keep the owner of"))?;
            }
            fs::fchmod(&file, Mode::from_raw_mode(old.mode())).map_err(self.failed("keep the mode of"))?;
        }
        fs::fsync(&file).map_err(self.failed("sync"))
    }

    fn failed(&self, verb: &'static str) -> impl Fn(Errno) -> Error {
        let path = self.place.full_path();
        move |errno| {
            let kind = match errno {
                Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::PermissionDenied,
                Errno::NAMETOOLONG => ErrorKind::Config,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, "write", format!("cannot {verb} the file: {errno}")).with("file", path.display())
        }
    }
}

/// Returns the name of the record of the rotation of the file `name`, in the same folder.
pub(super) fn record_of(name: &str) -> String {
    format!(".{name}{RECORD}")
}

/// Returns the name of the file whose record has this name.
pub(super) fn recorded_by(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(RECORD)
}

/// Tells whether a file of this name is of this module's own making, and no secret.
pub(super) fn is_own(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") && [RECORD, DRAFT].iter().any(|end| name.ends_with(end.as_bytes()))
}

fn draft_of(name: &OsStr) -> OsString {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(DRAFT);
    draft
}

const RECORD: &str = ".keywheel-rotation";
const DRAFT: &str = ".keywheel-new";
/// The lock is held for a write and two syncs.
const TRIES: usize = 500;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
