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
        // SAFETY: chunks are never unmapped, a slot has at least `len` bytes of one, and only `&mut self` writes to them.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has them now.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(class_of(self.len)).free.push(Free(self.start));
    }
}

/// Slots of one size.
struct Class {
    free: Vec<Free>,
    /// Kept for ever: what was needed once is needed again.
    chunks: Vec<Pages>,
}

struct Free(NonNull<u8>);

// SAFETY: nobody has a free slot but its class.
unsafe impl Send for Free {}

impl Class {
    const fn new() -> Self {
        Self { free: Vec::new(), chunks: Vec::new() }
    }

    /// Takes one of the slots, which have that size.
    fn take(&mut self, size: usize) -> io::Result<NonNull<u8>> {
        if self.free.is_empty() {
            let chunk = Pages::map(CHUNK)?;
            let slots = chunk.len() / size;
            // SAFETY: each offset is within the chunk.
            self.free.extend((0..slots).map(|slot| Free(unsafe { chunk.start().add(slot * size) })));
            self.chunks.push(chunk);
        }
        self.free.pop().map(|free| free.0).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
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
