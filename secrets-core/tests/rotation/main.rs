//! Rotations of a database in memory, published in a store in memory, with failures, kills and a second rotator at every step.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod course;
mod emergencies;
mod kills;
mod world;
