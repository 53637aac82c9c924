//! Pages of memory that are locked, or secret.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

use rustix::fs::ftruncate;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

/// Whole pages of this process alone, zero at first; given back when dropped.
pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages belong to whoever has this, like a box.
unsafe impl Send for Pages {}
// SAFETY: shared, they are only read.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps at least `len` bytes: secret memory where the kernel has it, else memory that is locked and in no core dump.
    pub(super) fn map(len: usize) -> io::Result<Self> {
        let page = page_size().ok_or(io::ErrorKind::Unsupported)?;
        let len = len.max(1).checked_next_multiple_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
        Self::secret(len).or_else(|_| Self::locked(len))
    }

    /// Maps memory that the kernel takes out of its own view (memfd_secret(2)). It counts as locked.
    fn secret(len: usize) -> io::Result<Self> {
        let file = secret_file()?;
        ftruncate(&file, len as u64)?;
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
        let start = unsafe { mm::mmap(ptr::null_mut(), len, READ_WRITE, MapFlags::SHARED, &file, 0) }?;
        Self::at(start.cast(), len)
    }

    /// Maps memory that is never swapped (mlock(2)) and in no core dump.
    fn locked(len: usize) -> io::Result<Self> {
        // SAFETY: as above.
        let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, READ_WRITE, MapFlags::PRIVATE) }?;
        let pages = Self::at(start.cast(), len)?;
        // SAFETY: these calls change nothing of what is in the pages, which are ours.
        unsafe {
            mm::mlock(start, len)?;
            mm::madvise(start, len, Advice::LinuxDontDump)?;
        }
        Ok(pages)
    }

    fn at(start: *mut u8, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` mapped bytes that live as long as `self`, and that only `&mut self` writes to.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has them now.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the pages any more. An error would mean that they were never mapped.
        unsafe { mm::munmap(self.start.as_ptr().cast(), self.len).ok() };
    }
}

/// Asks the C library, which knows it from the start: rustix would read `/proc/self/auxv` on Linux before 6.4, which a process that is closed to others cannot.
fn page_size() -> Option<usize> {
    // SAFETY: the call reads a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

fn secret_file() -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number and returns a file descriptor, which is new and ours, or -1.
    unsafe {
        let file = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(file.try_into().map_err(|_| io::ErrorKind::Unsupported)?))
    }
}

/// Tells whether the kernel has secret memory, and lets this process use it.
#[cfg(test)]
pub(super) fn has_secret_memory() -> bool {
    Pages::secret(1 << 12).is_ok()
}
