//! Records as files of one private, memory-backed directory.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::State;
use crate::deliver::{make_folder, memory_backed};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::SecretValue;

/// A directory that is held open and locked: its records belong to this process, which knows them all.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    folder: OwnedFd,
    names: Mutex<BTreeSet<String>>,
}

impl Directory {
    /// Opens the directory, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: &str| Error::config(OPERATION, reason).with("state_directory", path.display());
        memory_backed(path).map_err(|error| {
            error.with("state_directory", path.display()).with_help("mount a tmpfs there")
        })?;
        if let Some(parent) = path.parent() {
            make_folder(parent).map_err(|error| error.with("state_directory", path.display()))?;
        }
        match fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(wrong(&format!("cannot be made: {errno}"))),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = fs::open(path, flags, Mode::empty())
            .map_err(|errno| wrong(&format!("cannot be opened: {errno}")))?;
        let stat = fs::fstat(&folder).map_err(|errno| wrong(&format!("cannot be looked at: {errno}")))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(wrong("belongs to another user").with_help("name a folder below it; it will be made"));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(wrong("is open to other users")
                .with_help("make its mode 0700, or name a folder below it; it will be made"));
        }
        fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            wrong("is in use by another process").with_help("give each agent a directory of its own")
        })?;
        let names = Mutex::new(list(&folder)?);
        Ok(Self { path: path.to_owned(), folder, names })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of the records.
    pub(super) fn names(&self) -> Vec<String> {
        self.known().iter().cloned().collect()
    }

    /// Tells whether there is a record of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.known().contains(name)
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<SecretValue>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("read")(errno)),
        };
        let stat = fs::fstat(&file).map_err(failed("read"))?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > State::MAX_BYTES {
            return Err(Error::new(ErrorKind::Invalid, OPERATION, "it is not a record of ours"));
        }
        let room = usize::try_from(size).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
        let mut limited = std::fs::File::from(file).take(size);
        limited.read_to_end(&mut bytes).map_err(|error| io_failed("read", &error))?;
        Ok(Some(SecretValue::copy_of(&bytes)))
    }

    /// Writes the record aside and renames it over the one before. A memory-backed volume needs no syncing.
    pub(super) fn write(&self, name: &str, record: &SecretValue) -> Result<()> {
        let draft = format!(".{name}");
        self.unlink(&draft)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            fs::openat(&self.folder, &draft, flags, Mode::RUSR | Mode::WUSR).map_err(failed("write"))?;
        let written = std::fs::File::from(file).write_all(record.expose_secret());
        let renamed = written
            .map_err(|error| io_failed("write", &error))
            .and_then(|()| fs::renameat(&self.folder, &draft, &self.folder, name).map_err(failed("write")));
        match renamed {
            Ok(()) => {
                self.known().insert(name.to_owned());
            }
            // The first error is the one to tell; what is left is removed by the next write.
            Err(_) => drop(self.unlink(&draft)),
        }
        renamed
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.unlink(name)?;
        self.known().remove(name);
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<()> {
        match fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("remove")(errno)),
        }
    }
}

/// Lists the records; a name that begins with a dot is a draft that a crash left.
fn list(folder: &OwnedFd) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder).map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        if let Ok(name) = entry.file_name().to_str()
            && !name.starts_with('.')
        {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

fn failed(verb: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::new(ErrorKind::Invalid, OPERATION, format!("cannot {verb} a record: {errno}"))
}

fn io_failed(verb: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION, format!("cannot {verb} a record: {}", error.kind()))
}

const OPERATION: &str = "keep state";
