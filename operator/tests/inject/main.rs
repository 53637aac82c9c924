//! What becomes of pods: real-world shapes as snapshots, and properties of whatever a pod asks for.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod bounds;
mod pods;
mod properties;
mod restricted;
mod shapes;
