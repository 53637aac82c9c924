//! Delivery on real volumes: what readers see while it changes, crashes, is attacked, or has no room.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the tests play others"
)]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod attack;
mod content;
mod crash;
mod full;
mod listener;
mod readers;
mod support;
mod volume;
