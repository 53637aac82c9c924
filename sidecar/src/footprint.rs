//! Keeps little of the host's memory, and gives back to the kernel what only the start needed.
//!
//! Reading a configuration, logging in and delivering for the first time touch most of the program, and make and free many small things. An agent then rests
//! for months: what it needs again comes back by a page fault.

#![allow(unsafe_code, reason = "the program's own segments are found and advised on by their addresses")]

use std::ffi::{c_int, c_void};
use std::ptr;

use rustix::mm::{Advice, madvise};

/// Has all threads allocate from one heap. By default each has one of its own, of which freed memory is not given back; those that write files now and then
/// do not wait for each other long enough to need one.
pub(crate) fn share_one_heap() {
    // SAFETY: it changes how the allocator goes on, and nothing that it has handed out.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back freed memory, and the pages of the program itself that nobody has written to. Nothing depends on it, and nothing changes by it but what is
/// resident.
pub(crate) fn give_back() {
    crate::ALLOCATOR.0.give_back();
    // SAFETY: the callback is called during this call alone, and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(forget), ptr::null_mut()) };
}

/// Has the kernel forget the read-only segments of one object: they are as in its file, from which they come back. The first object is the program; libraries
/// are shared with others anyway.
unsafe extern "C" fn forget(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    const ONLY_THE_FIRST: c_int = 1;
    // SAFETY: the loader hands out a valid object, whose headers stay as long as the program does.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    let read_only =
        |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
    for header in headers.iter().filter(read_only) {
        let page = page_size() as u64;
        // A page that a segment shares with the next one is left alone.
        let start = (base + header.p_vaddr).next_multiple_of(page);
        let end = (base + header.p_vaddr + header.p_filesz) / page * page;
        if start < end {
            // SAFETY: the pages are mapped from the program's file, privately and read-only; what is in them is the same afterwards.
            unsafe { madvise(start as *mut c_void, (end - start) as usize, Advice::LinuxDontNeed) }.ok();
        }
    }
    ONLY_THE_FIRST
}

/// Asks the C library, which knows it from the start and allocates nothing for it; rustix would open `/proc/self/auxv` on Linux before 6.4.
pub(crate) fn page_size() -> usize {
    // SAFETY: the call reads a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(usize::MAX)
}
