//! The numbers that a measurement yields.

use std::time::Duration;

/// One number.
#[derive(Debug)]
pub(crate) struct Figure {
    /// The name of what was measured, with its unit.
    pub(crate) quantity: &'static str,
    /// How many secrets were delivered meanwhile; 0 where that does not matter.
    pub(crate) secrets: usize,
    /// The same for a reader.
    pub(crate) title: String,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(quantity: &'static str, secrets: usize, title: impl Into<String>, value: f64) -> Self {
        Self { quantity, secrets, title: title.into(), value }
    }
}

pub(crate) fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

pub(crate) fn minutes(span: Duration) -> f64 {
    span.as_secs_f64() / 60.0
}

/// Whole kilobytes are exact in an `f64`.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0 / 1e6
}
