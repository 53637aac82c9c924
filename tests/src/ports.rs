//! Finds loopback ports that nobody listens on.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// Returns a port that was free a moment ago.
///
/// It lies below the kernel's ephemeral range, so that no outgoing connection takes it while a stopped server waits
/// to be started again on it. Another process can still be quicker: a caller that can, retries with another port.
///
/// # Panics
///
/// When a thousand tries find none.
pub fn free() -> u16 {
    (0..1000)
        .map(|attempt: u32| {
            FIRST + u16::try_from(RandomState::new().hash_one(attempt) % COUNT).expect("below COUNT")
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free loopback port")
}

const FIRST: u16 = 20_000;
const COUNT: u64 = 12_000;
