//! Whether files on a memory-backed volume can come to a disk all the same: by way of swap.

use std::fs;
use std::os::fd::AsFd;

use super::mount::Mount;

/// Tells whether what is written to the volume of `folder` may be swapped out: the machine has swap, and the volume is a tmpfs without
/// `noswap` (Linux 6.4). Where that cannot be found out, it is not.
pub(super) fn may_take(folder: impl AsFd) -> bool {
    let Ok(swaps) = fs::read_to_string("/proc/swaps") else { return false };
    // The first line is a heading.
    swaps.lines().count() > 1 && Mount::of(folder).is_some_and(|mount| mount.is_swapped())
}
