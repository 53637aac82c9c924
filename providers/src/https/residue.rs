//! When connections have to go: TLS and HTTP keep what they carried last in buffers that live as long as the connection does.
//!
//! A connection that nobody needs is closed by its pool. One that is always needed, by questions that carry no value, would keep the last value for
//! ever: a little after it, requests ask for their connection to be closed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keywheel_core::Clock;
use tokio::time::Instant;

use super::tls::IDLE;

/// What may be in the buffers of the connections to one server.
#[derive(Debug)]
pub(crate) struct Residue {
    clock: Clock,
    carried: Mutex<Option<Carried>>,
}

/// When values were carried first and last since the connections were clean.
#[derive(Clone, Copy, Debug)]
struct Carried {
    first: Instant,
    last: Instant,
}

/// What becomes of the connection that a request is sent on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Connection {
    /// It may serve others after it.
    Kept,
    /// It is closed after the answer.
    Closed,
    /// As [`Kept`](Self::Kept); and all that carried a value are gone.
    Clean,
}

impl Residue {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, carried: Mutex::default() }
    }

    /// Notes that a value has just been carried.
    pub(crate) fn note(&self) {
        let now = self.clock.instant();
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let first = carried.map_or(now, |carried| carried.first);
        *carried = Some(Carried { first, last: now });
    }

    /// Tells whether the request that is about to be sent is to be the last one of its connection.
    pub(crate) fn closes(&self) -> bool {
        let now = self.clock.instant();
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = carried.map_or(Connection::Kept, |carried| carried.next(now));
        if connection == Connection::Clean {
            *carried = None;
        }
        connection == Connection::Closed
    }
}

impl Carried {
    fn next(self, now: Instant) -> Connection {
        let due = (self.last + IDLE).min(self.first + LONGEST);
        match now {
            now if now < due => Connection::Kept,
            now if now < due + IDLE => Connection::Closed,
            // Each request since then closed its own, and those that were not used its pool has closed.
            _ => Connection::Clean,
        }
    }
}

/// For how long connections carry value after value, as at the start of an agent with many secrets.
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_are_closed_a_little_after_the_last_value_and_kept_again_later() {
        let residue = Residue::new(Clock::system());
        assert!(!residue.closes());
        residue.note();
        assert!(!residue.closes());
        tokio::time::advance(IDLE).await;
        assert!(residue.closes() && residue.closes());
        tokio::time::advance(IDLE).await;
        assert!(!residue.closes());
        residue.note();
        assert!(!residue.closes());
    }

    #[tokio::test(start_paused = true)]
    async fn one_value_after_the_other_keeps_no_connection_for_ever() {
        let residue = Residue::new(Clock::system());
        let mut closed = 0;
        for _ in 0..106 {
            residue.note();
            tokio::time::advance(IDLE / 3).await;
            closed += usize::from(residue.closes());
        }
        // Twice in these ten seconds, for as long as it takes a pool to close what is not used.
        assert!((4..=8).contains(&closed), "{closed}");
    }
}
