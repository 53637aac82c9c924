//! Memory that nobody else reads: bytes live in pages that are in no core dump, on no swap and, where the kernel can
//! (memfd_secret(2), Linux 5.14), not even readable by root through `/proc/PID/mem`.
//!
//! Where that is not to be had, or `RLIMIT_MEMLOCK` is used up, bytes live on the heap: the program works on, and says so once.

#![allow(unsafe_code, reason = "pages are mapped, and the bytes in them borrowed, by hand")]

mod arena;
mod pages;

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;
use zeroize::Zeroize;

use self::arena::Slot;
use self::pages::Pages;

/// Bytes of a length that does not change. They are wiped when they are dropped.
pub(crate) struct Buffer(Home);

enum Home {
    /// A part of pages that small buffers share.
    Slot(Slot),
    /// Pages of its own, and how much of them it uses.
    Pages(Pages, usize),
    /// There is no other place.
    Heap(Box<[u8]>),
}

impl Buffer {
    /// Copies `bytes` into a buffer of exactly their size.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = Self::zeroed(bytes.len());
        buffer.as_mut_slice().copy_from_slice(bytes);
        buffer
    }

    fn zeroed(len: usize) -> Self {
        let home = match len {
            // Nothing to hide.
            0 => return Self(Home::Heap(Box::default())),
            1..=Slot::LARGEST => Slot::take(len).map(Home::Slot),
            _ => Pages::map(len).map(|pages| Home::Pages(pages, len)),
        };
        Self(home.unwrap_or_else(|_| {
            warn_once();
            Home::Heap(vec![0; len].into_boxed_slice())
        }))
    }

    /// Returns the bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Home::Slot(slot) => slot.as_slice(),
            Home::Pages(pages, len) => &pages.as_slice()[..*len],
            Home::Heap(bytes) => bytes,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Home::Slot(slot) => slot.as_mut_slice(),
            Home::Pages(pages, len) => &mut pages.as_mut_slice()[..*len],
            Home::Heap(bytes) => bytes,
        }
    }
}

impl Zeroize for Buffer {
    fn zeroize(&mut self) {
        self.as_mut_slice().zeroize();
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// Says that values are on the heap, once for the whole process: it does not help to hear it for each.
fn warn_once() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        warn!(
            "there is no locked memory left for values: they may reach swap; raise the limit of locked memory (RLIMIT_MEMLOCK)"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buffers_hold_what_they_were_made_of() {
        for len in [0, 1, 15, 16, 17, 2048, 2049, 4096, 4097, 1 << 20] {
            let bytes: Vec<u8> = (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let mut buffer = Buffer::copy_of(&bytes);
            assert_eq!(buffer.as_slice(), bytes);
            buffer.zeroize();
            assert!(buffer.as_slice().iter().all(|byte| *byte == 0) && buffer.as_slice().len() == len);
        }
    }

    #[test]
    fn a_buffer_that_fits_nowhere_is_on_the_heap() {
        assert!(Pages::map(1 << 60).is_err());
        let heap = Buffer(Home::Heap(Box::from(*b"abc")));
        assert_eq!(heap.as_slice(), b"abc");
    }

    /// Root may read any process's memory; the pages are not even there for it.
    #[test]
    fn no_door_of_the_kernel_leads_to_the_bytes() {
        use std::os::unix::fs::FileExt;
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let read = |bytes: &[u8]| {
            let mut seen = vec![0; bytes.len()];
            memory.read_exact_at(&mut seen, bytes.as_ptr() as u64).map(|()| seen)
        };
        let open = *b"an open value";
        assert_eq!(read(&open).unwrap(), open, "the check can fail");
        let small = Buffer::copy_of(&open);
        let large = Buffer::copy_of(&[7; 10_000]);
        if pages::has_secret_memory() {
            assert!(read(small.as_slice()).is_err() && read(large.as_slice()).is_err());
        }
    }

    proptest! {
        #[test]
        fn buffers_do_not_touch_each_other(steps in prop::collection::vec((any::<bool>(), 0_usize..5000, any::<u8>()), 0..300)) {
            let mut held: Vec<(Buffer, u8, usize)> = Vec::new();
            for (takes, size, mark) in steps {
                if takes || held.is_empty() {
                    let fresh = Buffer::zeroed(size);
                    prop_assert!(fresh.as_slice().iter().all(|byte| *byte == 0), "not wiped");
                    drop(fresh);
                    held.push((Buffer::copy_of(&vec![mark; size]), mark, size));
                } else {
                    held.swap_remove(size % held.len());
                }
                for (buffer, mark, size) in &held {
                    prop_assert_eq!(buffer.as_slice().len(), *size);
                    prop_assert!(buffer.as_slice().iter().all(|byte| byte == mark), "overwritten");
                }
            }
        }
    }
}
