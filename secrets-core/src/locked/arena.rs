//! Small buffers share pages: each class of sizes has chunks that are cut into slots of one size.

use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pages::Pages;

/// A part of a chunk. Whoever drops it has wiped it before.
pub(super) struct Slot {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a slot is handed out once, and belongs to whoever has it, like a box.
unsafe impl Send for Slot {}
// SAFETY: shared, it is only read.
unsafe impl Sync for Slot {}

impl Slot {
    /// The largest size that slots have.
    pub(super) const LARGEST: usize = SMALLEST << (CLASSES - 1);

    /// Takes a slot of at least `len` bytes, of which it shows `len`, all of them zero.
    pub(super) fn take(len: usize) -> io::Result<Self> {
        let index = class_of(len);
        let start = lock(index).take(SMALLEST << index)?;
        Ok(Self { start, len })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: a chunk stays while anybody has a slot of it, which has at least `len` bytes, and only `&mut self` writes to them.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has them now.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(class_of(self.len)).put_back(self.start);
    }
}

/// Slots of one size. The first chunk with room is used first, so that the others become empty.
struct Class {
    chunks: Vec<Chunk>,
}

impl Class {
    const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Takes one of the slots, which have that size.
    fn take(&mut self, size: usize) -> io::Result<NonNull<u8>> {
        if let Some(slot) = self.chunks.iter_mut().find_map(Chunk::take) {
            return Ok(slot);
        }
        let mut chunk = Chunk::map(size)?;
        let slot = chunk.take();
        self.chunks.push(chunk);
        slot.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Takes a slot back. One chunk that nobody has anything of stays: what was needed once is needed again.
    fn put_back(&mut self, slot: NonNull<u8>) {
        let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.has(slot)) else { return };
        chunk.put_back(slot);
        if chunk.is_unused() && self.chunks.iter().filter(|chunk| chunk.is_unused()).count() > 1 {
            self.chunks.retain(|chunk| !chunk.has(slot));
        }
    }
}

/// Pages that are cut into slots.
struct Chunk {
    pages: Pages,
    size: usize,
    /// The numbers of the slots that nobody has.
    free: Vec<u16>,
}

impl Chunk {
    fn map(size: usize) -> io::Result<Self> {
        let pages = Pages::map(CHUNK)?;
        let free = (0..pages.len() / size).filter_map(|slot| u16::try_from(slot).ok()).rev().collect();
        Ok(Self { pages, size, free })
    }

    fn take(&mut self) -> Option<NonNull<u8>> {
        let slot = usize::from(self.free.pop()?);
        // SAFETY: each slot is within the pages.
        Some(unsafe { self.pages.start().add(slot * self.size) })
    }

    fn put_back(&mut self, slot: NonNull<u8>) {
        self.free.extend(u16::try_from(self.offset(slot) / self.size));
    }

    fn has(&self, slot: NonNull<u8>) -> bool {
        self.offset(slot) < self.pages.len()
    }

    fn offset(&self, slot: NonNull<u8>) -> usize {
        slot.addr().get().wrapping_sub(self.pages.start().addr().get())
    }

    fn is_unused(&self) -> bool {
        self.free.len() == self.pages.len() / self.size
    }
}

const SMALLEST: usize = 16;
const CLASSES: usize = 8;
/// How much is mapped at a time for a class; a limit of locked memory may be as low as 64 KiB.
const CHUNK: usize = 16 << 10;

static ARENA: [Mutex<Class>; CLASSES] = [const { Mutex::new(Class::new()) }; CLASSES];

/// Returns the class whose slots are the smallest that hold `len` bytes.
fn class_of(len: usize) -> usize {
    len.div_ceil(SMALLEST).next_power_of_two().trailing_zeros() as usize
}

fn lock(class: usize) -> MutexGuard<'static, Class> {
    // A panic cannot leave a class half changed.
    ARENA[class].lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_that_nobody_has_anything_of_are_unmapped_but_one() {
        const SIZE: usize = 1024;
        let slots = CHUNK / SIZE;
        let mut class = Class::new();
        let mut taken: Vec<_> = (0..4 * slots).map(|_| class.take(SIZE).unwrap()).collect();
        assert_eq!(class.chunks.len(), 4);
        let last = taken.split_off(slots);
        last.into_iter().for_each(|slot| class.put_back(slot));
        assert_eq!(class.chunks.len(), 2, "one is full, and one is there for the next");
        class.put_back(taken[0]);
        assert_eq!(class.take(SIZE).unwrap(), taken[0], "the first one with room is used first");
        taken.into_iter().for_each(|slot| class.put_back(slot));
        assert_eq!(class.chunks.len(), 1);
    }
}
