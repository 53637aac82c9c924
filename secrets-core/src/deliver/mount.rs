//! The mount that a folder is on, and what it should be mounted with.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::volume;

/// A mount, as `/proc/self/mountinfo` has it (proc_pid_mountinfo(5)).
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Mount {
    /// The type of the file system.
    kind: String,
    /// The options of the mount, then those of the file system.
    options: Vec<String>,
}

impl Mount {
    /// Finds the mount that `folder` is on.
    pub(super) fn of(folder: impl AsFd) -> Option<Self> {
        let found = statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        let id = found.stx_mnt_id.to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        mounts.lines().find(|line| line.split(' ').next() == Some(id.as_str())).and_then(Self::parse)
    }

    fn parse(line: &str) -> Option<Self> {
        // Six fields, optional ones, a separator, the type, the source, the options.
        let (own, file_system) = line.split_once(" - ")?;
        let mut fields = file_system.split(' ');
        let (kind, of_system) = (fields.next()?, fields.nth(1).unwrap_or_default());
        let options = own.split(' ').nth(5)?.split(',').chain(of_system.split(','));
        Some(Self { kind: kind.into(), options: options.map(str::to_owned).collect() })
    }

    /// Tells whether what is on it may be swapped out.
    pub(super) fn is_swapped(&self) -> bool {
        self.kind == "tmpfs" && !self.has("noswap")
    }

    /// Returns the options that it lacks: secrets are neither devices nor programs.
    fn lacks(&self) -> Vec<&'static str> {
        let missing = ["nosuid", "nodev", "noexec"].into_iter().filter(|option| !self.has(option));
        missing.chain(self.is_swapped().then_some("noswap")).collect()
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }
}

/// Returns the options that the volume of `directory`, which need not be there yet, should be mounted with and is not.
pub fn missing_mount_options(directory: &Path) -> Vec<&'static str> {
    let mount = volume::nearest(directory, true).ok().and_then(|(folder, _)| Mount::of(folder));
    mount.map(|mount| mount.lacks()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_folder_is_found() {
        let mount = Mount::of(fs::File::open("/proc").unwrap()).unwrap();
        assert_eq!(mount.kind, "proc");
    }

    #[test]
    fn what_a_mount_lacks_is_told() {
        let lacks = |line: &str| Mount::parse(line).unwrap().lacks();
        let line =
            "36 35 0:30 / /run/secrets rw,nosuid,nodev,noexec shared:1 - tmpfs tmpfs rw,size=1024k,noswap";
        assert_eq!(lacks(line), [""; 0]);
        assert_eq!(lacks("36 35 0:30 / /m rw,nosuid - tmpfs noswap rw"), ["nodev", "noexec", "noswap"]);
        assert_eq!(lacks("36 35 0:30 / /m rw,noexec,nosuid,nodev - ramfs none rw"), [""; 0]);
        assert_eq!(Mount::parse("36 35 0:30 / /m rw"), None);
    }
}
