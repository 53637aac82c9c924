//! Whether files on a memory-backed volume can come to a disk all the same: by way of swap.

use std::fs;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxFlags, statx};

/// Tells whether what is written to the volume of `folder` may be swapped out: the machine has swap, and the volume is a tmpfs without
/// `noswap` (Linux 6.4). Where that cannot be found out, it is not.
pub(super) fn may_take(folder: impl AsFd) -> bool {
    let Ok(swaps) = fs::read_to_string("/proc/swaps") else { return false };
    // The first line is a heading.
    swaps.lines().count() > 1 && options(folder).is_some_and(|options| !is_kept_from_swap(&options))
}

/// Returns the type and the options of the file system that `folder` is on, as `/proc/self/mountinfo` has them.
fn options(folder: impl AsFd) -> Option<String> {
    let found = statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let id = found.stx_mnt_id.to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(id.as_str()))?;
    // proc_pid_mountinfo(5): optional fields, a separator, the type, the source, the options.
    line.split_once(" - ").map(|(_, file_system)| file_system.to_owned())
}

fn is_kept_from_swap(file_system: &str) -> bool {
    let mut fields = file_system.split(' ');
    let (kind, options) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
    kind != "tmpfs" || options.split(',').any(|option| option == "noswap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_folder_is_found() {
        let folder = fs::File::open("/proc").unwrap();
        let options = options(&folder).unwrap();
        assert!(options.starts_with("proc "), "{options}");
    }

    #[test]
    fn a_tmpfs_is_swapped_unless_it_says_no() {
        for kept in ["tmpfs tmpfs rw,size=1024k,noswap", "tmpfs none rw,noswap,inode64", "ramfs ramfs rw"] {
            assert!(is_kept_from_swap(kept), "{kept}");
        }
        for swapped in ["tmpfs tmpfs rw,size=1024k", "tmpfs noswap rw"] {
            assert!(!is_kept_from_swap(swapped), "{swapped}");
        }
    }
}
