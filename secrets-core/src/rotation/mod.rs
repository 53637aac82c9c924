//! Rotation at the source: when a secret is replaced there, and by what.
//!
//! [`timing`] says when, from values alone.

pub mod timing;
