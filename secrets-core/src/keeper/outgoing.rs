//! The leases of replaced values: extended while somebody relies on them, and ended when nobody does.

use jiff::Timestamp;

use super::holders::Holders;
use crate::clock::later;
use crate::lease::{Lease, Term};
use crate::schedule::renew_after;

/// Leases to be ended, each with the revision of the value that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    leases: Vec<(u64, Lease)>,
    /// Of the thousands of these that there are, few have one.
    retry: Option<Box<Retry>>,
}

/// What an attempt that failed has wait.
#[derive(Debug)]
struct Retry {
    /// How often in a row that was.
    failures: u32,
    /// When the next attempt may be made.
    at: Timestamp,
}

impl Outgoing {
    /// Takes over the leases that were to be ended before a restart: of values older than any.
    pub(super) fn resumed(leases: Vec<Lease>) -> Self {
        Self { leases: leases.into_iter().map(|lease| (0, lease)).collect(), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
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
        if self.waits(now) {
            return None;
        }
        self.leases.iter().find(|(revision, _)| holders.are_past(*revision)).map(|(_, lease)| lease.clone())
    }

    /// Returns a lease that somebody relies on and that is to be extended now.
    pub(super) fn renewable(&self, holders: &Holders, now: Timestamp) -> Option<Lease> {
        if self.waits(now) {
            return None;
        }
        let is_due = |(revision, lease): &&(u64, Lease)| {
            !holders.are_past(*revision) && renew_at(lease).is_some_and(|at| at <= now)
        };
        self.leases.iter().find(is_due).map(|(_, lease)| lease.clone())
    }

    /// Notes the life of a lease that was extended; returns the revision of its value.
    pub(super) fn renewed(&mut self, id: &str, term: Term) -> Option<u64> {
        let (revision, lease) = self.leases.iter_mut().find(|(_, lease)| lease.id == id)?;
        lease.term = term;
        Some(*revision)
    }

    /// Notes that `lease` needs no more care.
    pub(super) fn ended(&mut self, lease: &Lease) {
        self.leases.retain(|(_, outgoing)| outgoing.id != lease.id);
        self.retry = None;
    }

    /// Returns how often in a row a lease could not be ended or extended.
    pub(super) fn failures(&self) -> u32 {
        self.retry.as_ref().map_or(0, |retry| retry.failures)
    }

    /// Notes that it could not once more, and has the next attempt wait until `at`.
    pub(super) fn failed(&mut self, at: Timestamp) {
        self.retry = Some(Box::new(Retry { failures: self.failures() + 1, at }));
    }

    /// Tells whether the next attempt is later than `now`.
    fn waits(&self, now: Timestamp) -> bool {
        self.retry.as_ref().is_some_and(|retry| now < retry.at)
    }

    /// Returns when a lease is to be ended or extended next, an attempt that failed included; none where none is.
    pub(super) fn due_at(&self, holders: &Holders) -> Option<Timestamp> {
        let due_at = |(revision, lease): &(u64, Lease)| match holders.are_past(*revision) {
            true => Some(Timestamp::MIN),
            false => renew_at(lease),
        };
        let due_at = self.leases.iter().filter_map(due_at).min()?;
        Some(self.retry.as_ref().map_or(due_at, |retry| retry.at.max(due_at)))
    }
}

/// Returns when a lease is to be extended; none where it cannot be.
fn renew_at(lease: &Lease) -> Option<Timestamp> {
    let Term { granted_at, ttl, renewable, is_short, .. } = lease.term;
    lease.term.ends_at().filter(|_| renewable && !is_short).map(|_| later(granted_at, renew_after(ttl, 0.5)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lease(id: &str, ttl: u64) -> Lease {
        let term = Term::granted(Timestamp::UNIX_EPOCH, Duration::from_secs(ttl), true);
        Lease { id: id.into(), holder: "h".into(), term }
    }

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    #[test]
    fn a_lease_goes_when_nobody_needs_it_and_is_forgotten_when_it_ends() {
        let (mut holders, mut outgoing) = (Holders::default(), Outgoing::default());
        let holder = holders.add();
        outgoing.add(1, lease("a", 60));
        outgoing.add(2, lease("b", 30));
        assert_eq!(outgoing.releasable(&holders, at(1)), None);
        holders.confirm(holder, 2);
        assert_eq!(outgoing.releasable(&holders, at(1)).unwrap().id, "a");
        outgoing.ended(&lease("a", 60));
        holders.confirm(holder, 3);
        assert_eq!(outgoing.releasable(&holders, at(29)).unwrap().id, "b");
        assert_eq!(outgoing.releasable(&holders, at(30)), None, "it has ended by itself");
        assert!(outgoing.leases().is_empty());
    }

    #[test]
    fn a_lease_that_is_needed_is_due_to_be_extended_and_one_that_is_not_at_once() {
        let (mut holders, mut outgoing) = (Holders::default(), Outgoing::default());
        assert_eq!(outgoing.due_at(&holders), None);
        let holder = holders.add();
        outgoing.add(1, lease("a", 60));
        let extended_at = outgoing.due_at(&holders).unwrap();
        assert!(extended_at > at(30) && extended_at < at(45), "{extended_at}");
        holders.confirm(holder, 2);
        assert!(outgoing.due_at(&holders).unwrap() < at(0));
    }

    #[test]
    fn nothing_waits_for_a_retry_that_nobody_needs_any_more() {
        let (holders, mut outgoing) = (Holders::default(), Outgoing::resumed(vec![lease("a", 5)]));
        outgoing.failed(at(10));
        assert_eq!(outgoing.failures(), 1);
        assert_eq!(outgoing.due_at(&holders), Some(at(10)));
        assert_eq!(outgoing.releasable(&holders, at(10)), None);
        assert_eq!(outgoing.due_at(&holders), None, "the loop would run hot");
    }
}
