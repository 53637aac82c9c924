//! Makes memory-backed volumes.

use std::ffi::CString;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

/// A memory-backed folder that goes with its handle: a tmpfs of its own where the test is root, else a folder in
/// `/dev/shm`.
#[derive(Debug)]
pub struct Tmpfs {
    folder: TempDir,
    mounted: bool,
}

impl Tmpfs {
    /// Mounts a volume that holds `bytes`, rounded up to whole pages.
    ///
    /// Without the right to mount, the folder shares the size of `/dev/shm`: see [`Tmpfs::is_limited`].
    pub fn mount(bytes: u64) -> Self {
        let folder =
            tempfile::Builder::new().prefix("keywheel-tmpfs-").tempdir().expect("a temporary folder");
        let data = CString::new(format!("size={bytes},mode=0755")).expect("no NUL");
        match rustix::mount::mount("keywheel", folder.path(), "tmpfs", MountFlags::empty(), data.as_c_str()) {
            Ok(()) => Self { folder, mounted: true },
            Err(rustix::io::Errno::PERM) => {
                let folder = tempfile::Builder::new().prefix("keywheel-").tempdir_in("/dev/shm");
                Self { folder: folder.expect("a folder in /dev/shm"), mounted: false }
            }
            Err(error) => panic!("cannot mount a tmpfs of {bytes} bytes: {error}"),
        }
    }

    /// Returns the volume's root.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Says whether the volume has the size that was asked for, so that a test can fill it.
    pub fn is_limited(&self) -> bool {
        self.mounted
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if self.mounted {
            // Detached: a process that a failing test left behind may still stand in it.
            rustix::mount::unmount(self.path(), UnmountFlags::DETACH).expect("our own mount");
        }
    }
}
