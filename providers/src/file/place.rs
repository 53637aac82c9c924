//! Where a reference leads, and opening it without being led elsewhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use keywheel_core::error::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A path that is absolute, or below a root that it cannot leave.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub(super) struct Place {
    root: Option<PathBuf>,
    path: PathBuf,
}

impl Place {
    /// Places `path` below `root`, unless it is absolute.
    pub(super) fn try_new(root: Option<&Path>, path: &Path) -> Result<Self> {
        if path.is_absolute() {
            return Ok(Self { root: None, path: path.into() });
        }
        let reason = "the path is relative and the provider has no `root`";
        let root = root.ok_or_else(|| {
            Error::config("check reference", reason)
                .with_help("write file:///absolute/path, or configure `root` for a provider of kind file")
        })?;
        Ok(Self { root: Some(root.into()), path: path.into() })
    }

    /// Returns the place of `name` in the folder that this one is.
    pub(super) fn join(&self, name: &OsStr) -> Self {
        Self { root: self.root.clone(), path: self.path.join(name) }
    }

    /// Returns the place of the folder that this is in.
    pub(super) fn folder(&self) -> Self {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self { root: self.root.clone(), path: folder.unwrap_or(Path::new(".")).into() }
    }

    /// Returns the whole path.
    pub(super) fn full_path(&self) -> PathBuf {
        match &self.root {
            Some(root) => root.join(&self.path),
            None => self.path.clone(),
        }
    }

    /// Returns the file's name.
    pub(super) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Opens what is there for reading, whatever it is, without waiting for the writer of a FIFO.
    pub(super) fn open(&self) -> Result<File> {
        let opened = match &self.root {
            None => rustix::fs::open(&self.path, FLAGS, Mode::empty()),
            Some(root) => {
                rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .and_then(|root| open_below(&root, &self.path))
            }
        };
        opened.map(File::from).map_err(|errno| self.failed(errno))
    }

    /// Says why a system call on this place failed.
    pub(super) fn failed(&self, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        let (kind, reason) = match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => {
                (ErrorKind::NotFound, "there is no such file or folder".into())
            }
            Some(Errno::ACCESS | Errno::PERM) => {
                (ErrorKind::PermissionDenied, "the file may not be read".into())
            }
            Some(Errno::XDEV) => {
                (ErrorKind::PermissionDenied, "a link leads out of the provider's root".into())
            }
            Some(Errno::LOOP) => (ErrorKind::Invalid, "the links go in a circle".into()),
            Some(Errno::NAMETOOLONG) => (ErrorKind::NotFound, "the path is too long".into()),
            Some(Errno::NXIO | Errno::NODEV) => (ErrorKind::Invalid, "it is not a regular file".into()),
            _ => (ErrorKind::Unavailable, format!("cannot read the file: {error}")),
        };
        Error::new(kind, "read", reason).with("file", self.full_path().display())
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens `path` below `root`; `EXDEV` when a link leads out of it.
///
/// The kernel does it in one step, `RESOLVE_BENEATH` (openat2(2), since 5.6), and refuses absolute links wherever they lead. Where there
/// is no such call, or a sandbox forbids it, the file is opened first and asked for its path then, so that nobody can swap a link between.
fn open_below(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(root, path, FLAGS, Mode::empty(), resolve) {
            // Somebody renamed something on the way, and the kernel cannot tell where it was led.
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS | Errno::PERM) => return open_and_check(root, path),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

fn open_and_check(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let opened = rustix::fs::openat(root, path, FLAGS, Mode::empty())?;
    let path_of = |fd: &OwnedFd| {
        let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
        std::fs::read_link(link).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    if path_of(&opened)?.starts_with(path_of(root)?) { Ok(opened) } else { Err(Errno::XDEV) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test makes its own files")]
    fn nothing_leads_out_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("inner")).unwrap();
        std::fs::create_dir(folder.path().join("root-beside")).unwrap();
        for file in ["secret", "root-beside/secret", "root/inner/file"] {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        for (link, target) in [
            ("good", "inner/file"),
            ("inner/good", "../good"),
            ("..data", "inner"),
            ("up", "../secret"),
            ("beside", "../root-beside/secret"),
            ("folder", ".."),
            ("absolute", "/etc/passwd"),
            ("inner/deep", "../../root-beside"),
            ("chain", "inner/deep"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let root = rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for open in [open_below, open_and_check] {
            for inside in ["inner/file", "good", "inner/good", "..data/file", "..data/good", "inner"] {
                assert!(open(&root, Path::new(inside)).is_ok(), "{inside}");
            }
            for outside in
                ["up", "beside", "folder/secret", "absolute", "inner/deep/secret", "chain/secret", "chain"]
            {
                assert_eq!(open(&root, Path::new(outside)).unwrap_err(), Errno::XDEV, "{outside}");
            }
        }
    }
}
