//! How long the long tests take: a minute or so among all tests, and as long as they should with `cargo xtask soak`.

use std::time::Duration;

/// Returns whether this is `cargo xtask soak`.
pub fn is_on() -> bool {
    std::env::var_os("KEYWHEEL_SOAK").is_some()
}

/// Returns `soak` with `cargo xtask soak`, else `short`.
pub fn span(short: Duration, soak: Duration) -> Duration {
    if is_on() { soak } else { short }
}

/// Returns `soak` with `cargo xtask soak`, else `short`.
pub fn count(short: usize, soak: usize) -> usize {
    if is_on() { soak } else { short }
}
