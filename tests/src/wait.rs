//! Waits for something to become true, or to stay true, within a bound.

use std::time::{Duration, Instant};

/// Calls `probe` until it returns a value, and returns that.
///
/// # Panics
///
/// When `bound` has passed; the message names `what`.
pub fn until<T>(bound: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(bound, probe).unwrap_or_else(|| panic!("waited {bound:?} in vain for: {what}"))
}

/// Calls `probe` until it returns a value, or until `bound` has passed.
pub fn within<T>(bound: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let value = probe();
        if value.is_some() || begun.elapsed() >= bound {
            return value;
        }
        pause();
    }
}

/// Calls `probe` until it returns a value, and returns that; other tasks of the runtime go on meanwhile.
///
/// # Panics
///
/// When 90 s have passed, which is more than a node takes for anything; the message names `what`.
pub async fn until_async<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let polled = tokio::time::timeout(PATIENCE, polling).await;
    polled.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for: {what}"))
}

/// Calls `holds` over and over for the whole of `span`.
///
/// # Panics
///
/// As soon as `holds` returns `false`; the message names `what` and how long it had held.
pub fn throughout(span: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        assert!(holds(), "held only for {:?}: {what}", begun.elapsed());
        pause();
    }
}

/// Reads the clock that all processes of the machine share and nobody sets (`CLOCK_MONOTONIC`).
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().expect("nanoseconds below a second"))
}

fn pause() {
    std::thread::sleep(POLL);
}

/// Short against every bound in the tests, long enough to leave the two cores to the programs under test.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(5);
