//! Where pages come from.
//!
//! What is known of a page is not on it but in the books at the beginning of its region: whoever writes beyond its own slot meets other slots, and not the
//! allocator's own. A page that is given back leaves nothing to be remembered by.

use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::page::{List, PAGE, Page};

/// Pages that are mapped together, at a multiple of their size; the first ones have the books of the others.
pub(super) struct Region;

impl Region {
    const SIZE: usize = 1 << 20;
    /// How many pages the books take.
    const BOOKS: usize = (Self::SIZE / PAGE * size_of::<Page>()).div_ceil(PAGE);

    /// Maps one for ever, and adds its pages to the bare ones; none where the kernel has no more memory.
    pub(super) fn map(bare: &mut List) -> Option<()> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: the kernel finds a place where nothing is.
        let mapped = unsafe { mmap_anonymous(ptr::null_mut(), 2 * Self::SIZE, protection, flags) }.ok()?;
        let ahead = mapped.align_offset(Self::SIZE);
        let behind = Self::SIZE - ahead;
        // SAFETY: all of it is what was mapped just now, and nobody knows of it.
        unsafe {
            let start = mapped.byte_add(ahead);
            if ahead > 0 {
                munmap(mapped, ahead).ok();
            }
            if behind > 0 {
                munmap(start.byte_add(Self::SIZE), behind).ok();
            }
            // A huge page is never empty.
            madvise(start, Self::SIZE, Advice::LinuxNoHugepage).ok();
            for index in (Self::BOOKS..Self::SIZE / PAGE).rev() {
                bare.add(NonNull::new(start.cast::<Page>().add(index))?);
            }
        }
        Some(())
    }

    /// Returns the books of the page that `memory` is on, and where on the page it is.
    pub(super) fn page(memory: *mut u8) -> (NonNull<Page>, usize) {
        let offset = memory.addr() % Self::SIZE;
        // SAFETY: it is of a region, whose books begin where it does.
        let page = unsafe { NonNull::new_unchecked(memory.sub(offset).cast::<Page>().add(offset / PAGE)) };
        (page, offset % PAGE)
    }

    /// Returns where the page is whose books these are.
    pub(super) fn place(page: NonNull<Page>) -> *mut u8 {
        let offset = page.addr().get() % Self::SIZE;
        // SAFETY: as above, and a region has a page for each.
        unsafe { page.as_ptr().byte_sub(offset).cast::<u8>().add(offset / size_of::<Page>() * PAGE) }
    }
}
