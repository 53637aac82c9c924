//! The numbered steps of [`AtomicDir::write`](super::AtomicDir::write), each told to the log right after it is done.

/// A step by its number in the algorithm.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Compared = 1,
    FolderMade = 2,
    FileWritten = 3,
    ManifestWritten = 4,
    TemporaryLinked = 5,
    Published = 6,
    Linked = 7,
    Unlinked = 8,
}

impl Step {
    /// Says that the step is done for `name`; at the level `trace`, under the target `keywheel_core::deliver`.
    pub(super) fn done(self, name: &str) {
        tracing::trace!(target: "keywheel_core::deliver", step = self as u64, name, "done");
    }
}
