//! The allocator of the program: small things lie with those of their size, large ones are the system's.
//!
//! A sidecar makes and frees thousands of things while it starts and keeps a few of them for months. In one heap for all sizes those few come to lie between what was
//! freed, on pages that are then never empty. Here a page has things of one size alone: what is freed is used again by the next of its size, and pages that are
//! empty are given back.

#![allow(unsafe_code, reason = "memory is handed out by its address, which is what an allocator does")]

mod page;
mod region;
mod slabs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::page::Class;
use self::slabs::Slabs;

/// Allocates for the whole program.
pub(crate) struct Heap(Mutex<Slabs>);

impl Heap {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Slabs::new()))
    }

    /// Gives back to the kernel what is free.
    pub(crate) fn give_back(&self) {
        self.slabs().give_back();
        // SAFETY: the system's allocator takes care of itself.
        #[cfg(target_env = "gnu")]
        unsafe {
            libc::malloc_trim(0);
        }
    }

    fn slabs(&self) -> MutexGuard<'_, Slabs> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: each of the two hands out memory of the layout that is asked for, which nobody else has; and a layout is always the same one's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Class::of(layout) {
            Some(class) => self.slabs().take(class),
            // SAFETY: the caller's promises are the system's.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match Class::of(layout) {
            Some(class) => {
                let memory = self.slabs().take(class);
                if !memory.is_null() {
                    // SAFETY: a slot has that many bytes.
                    unsafe { memory.write_bytes(0, layout.size()) };
                }
                memory
            }
            // SAFETY: the caller's promises are the system's, which knows what is zero already.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match Class::of(layout) {
            // SAFETY: the caller has it from `alloc` with the same layout, and uses it no more.
            Some(class) => unsafe { self.slabs().put_back(memory, class) },
            // SAFETY: as above.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }
}
