//! The body of an answer, as it is read.

use keywheel_core::{Error, ErrorKind};
use zeroize::{Zeroize, Zeroizing};

/// A buffer that leaves no copy of itself behind when it grows.
pub(crate) struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// Makes a buffer for a body of the length that was announced, if one was.
    pub(crate) fn with_capacity(expected: Option<u64>) -> Self {
        let expected = expected.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(FIRST_BODY);
        Self(Zeroizing::new(Vec::with_capacity(expected.min(MAX_BODY))))
    }

    /// Adds `chunk`, or says that there is no room for it.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> bool {
        let length = self.0.len() + chunk.len();
        if length > MAX_BODY {
            return false;
        }
        if length > self.0.capacity() {
            let mut larger = Vec::with_capacity((length * 2).min(MAX_BODY));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = larger.into();
        }
        self.0.extend_from_slice(chunk);
        true
    }

    /// Returns what was read.
    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Returns the error of an answer that there is no room for.
    pub(crate) fn too_large(operation: &'static str) -> Error {
        Error::new(ErrorKind::Invalid, operation, format!("the answer is larger than {MAX_BODY} bytes"))
    }
}

/// The largest body that is read: a secret has at most 1 MiB, and JSON may write a byte as six.
const MAX_BODY: usize = 4 << 20;
const FIRST_BODY: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_grows_to_its_bound() {
        let mut body = Body::with_capacity(Some(u64::MAX));
        assert!(body.0.capacity() <= MAX_BODY);
        body = Body::with_capacity(Some(1));
        let chunk = [b'x'; 1000];
        let pushed = (0..).take_while(|_| body.push(&chunk)).count();
        assert_eq!(pushed, MAX_BODY / chunk.len());
        assert!(body.0.iter().all(|byte| *byte == b'x') && body.0.capacity() <= MAX_BODY);
    }
}
