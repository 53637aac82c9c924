//! Leases: how long a source lets a value live.

use std::time::Duration;

use jiff::Timestamp;

/// What a source bound to one read of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The source's name for the lease, needed to renew or revoke it.
    pub id: String,
    /// How long the value lives from `issued_at`, unless it is renewed.
    pub ttl: Duration,
    /// Whether the source says that it can be renewed.
    pub renewable: bool,
    /// When the source issued or last renewed it.
    pub issued_at: Timestamp,
}

impl Lease {
    /// Returns the moment at which the value ends.
    pub fn deadline(&self) -> Timestamp {
        jiff::SignedDuration::try_from(self.ttl)
            .ok()
            .and_then(|ttl| self.issued_at.checked_add(ttl).ok())
            .unwrap_or(Timestamp::MAX)
    }
}
