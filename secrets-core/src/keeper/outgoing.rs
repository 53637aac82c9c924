//! The leases of replaced values, until nobody relies on them.

use jiff::Timestamp;

use super::holders::Holders;
use crate::clock::Clock;
use crate::lease::Lease;

/// Leases to be ended, each with the revision of the value that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    leases: Vec<(u64, Lease)>,
    failures: u32,
    retry_at: Option<Timestamp>,
}

impl Outgoing {
    /// Takes over the leases that were to be ended before a restart: of values older than any.
    pub(super) fn resumed(leases: Vec<Lease>) -> Self {
        Self { leases: leases.into_iter().map(|lease| (0, lease)).collect(), ..Self::default() }
    }

    pub(super) fn add(&mut self, revision: u64, lease: Lease) {
        self.leases.push((revision, lease));
    }

    /// Returns the leases, for the record.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.leases.iter().map(|(_, lease)| lease.clone()).collect()
    }

    /// Returns a lease that may be ended now: nobody relies on it, and it has not ended by itself.
    pub(super) fn releasable(&mut self, holders: &Holders, now: Timestamp) -> Option<Lease> {
        self.leases.retain(|(_, lease)| lease.term.ends_at().is_none_or(|end| end > now));
        if self.retry_at.is_some_and(|retry_at| now < retry_at) {
            return None;
        }
        self.leases.iter().find(|(revision, _)| holders.are_past(*revision)).map(|(_, lease)| lease.clone())
    }

    /// Notes that `lease` needs no more care.
    pub(super) fn ended(&mut self, lease: &Lease) {
        self.leases.retain(|(_, outgoing)| outgoing.id != lease.id);
        (self.failures, self.retry_at) = (0, None);
    }

    /// Notes that a lease could not be ended; returns how often that happened in a row.
    pub(super) fn failed(&mut self) -> u32 {
        self.failures += 1;
        self.failures
    }

    /// Has the next attempt wait until `at`.
    pub(super) fn retry_at(&mut self, at: Timestamp) {
        self.retry_at = Some(at);
    }

    /// Waits until an attempt that failed is to be made again.
    pub(super) async fn due(&self, clock: &Clock) {
        match self.retry_at {
            Some(at) => clock.sleep_until_time(at).await,
            None => std::future::pending().await,
        }
    }
}
