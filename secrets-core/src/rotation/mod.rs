//! Rotation at the source: when a secret is replaced there, and by what.
//!
//! [`timing`] says when, from values alone; [`policy`] makes the new value.

pub mod policy;
pub mod timing;
