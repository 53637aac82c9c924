//! Where output is collected: bounded, and wiped also where it grows.

use std::io;

use zeroize::Zeroizing;

use crate::secret::{Secret, SecretValue};

/// Collects at most [`Secret::MAX_BYTES`]; a write that would pass them fails, and leaves the buffer as it was.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    is_full: bool,
}

impl Buffer {
    /// Appends `more`, and tells whether there was room.
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        let length = self.bytes.len() + more.len();
        if length > Secret::MAX_BYTES {
            self.is_full = true;
            return false;
        }
        if length > self.bytes.capacity() {
            // `Vec` would grow by leaving its old bytes behind; the replaced one here is wiped when it is dropped.
            let mut larger = Vec::with_capacity(length.max(2 * self.bytes.capacity()).max(256));
            larger.extend_from_slice(&self.bytes);
            self.bytes = Zeroizing::new(larger);
        }
        self.bytes.extend_from_slice(more);
        true
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Tells whether a write was refused.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn into_value(mut self) -> SecretValue {
        std::mem::take(&mut *self.bytes).into()
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.push(bytes) {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_up_to_its_bound_and_keeps_what_it_has() {
        let mut buffer = Buffer::default();
        for _ in 0..Secret::MAX_BYTES / 1024 {
            assert!(buffer.push(&[7; 1024]));
        }
        assert!(buffer.push(b"") && !buffer.is_full());
        assert!(!buffer.push(b"x") && buffer.is_full());
        assert_eq!(buffer.into_value().expose_secret(), [7; Secret::MAX_BYTES]);
    }
}
