//! Who still relies on which value of a secret, so that the lease of none is ended under anybody.

use std::sync::Arc;

use smallvec::SmallVec;

use super::shared::Shared;

/// Everybody who relies on the values of one secret, each with the revision that it confirmed last.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Most secrets have one.
    confirmed: SmallVec<[(u64, u64); 1]>,
    next: u64,
}

impl Holders {
    /// Adds somebody who has confirmed nothing yet, and returns its name.
    pub(super) fn add(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.confirmed.push((id, 0));
        id
    }

    pub(super) fn confirm(&mut self, id: u64, revision: u64) {
        if let Some((_, known)) = self.confirmed.iter_mut().find(|(holder, _)| *holder == id) {
            *known = revision.max(*known);
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.confirmed.retain(|(holder, _)| *holder != id);
    }

    /// Tells whether nobody needs the value of `revision` any more: all have confirmed a newer one.
    pub(super) fn are_past(&self, revision: u64) -> bool {
        self.confirmed.iter().all(|(_, confirmed)| *confirmed > revision)
    }
}

/// One who relies on the values of a secret. Dropped, it relies on none.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    id: u64,
}

impl Hold {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let id = shared.modify_holders(Holders::add);
        Self { shared, id }
    }

    /// Says that nothing older than the value of `revision` is needed here any more.
    pub fn confirm(&self, revision: u64) {
        self.shared.modify_holders(|holders| holders.confirm(self.id, revision));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.modify_holders(|holders| holders.remove(self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_needed_until_all_have_confirmed_a_newer_one_or_are_gone() {
        let mut holders = Holders::default();
        assert!(holders.are_past(1), "nobody needs anything");
        let (first, second) = (holders.add(), holders.add());
        assert!(!holders.are_past(0));
        holders.confirm(first, 2);
        assert!(!holders.are_past(1));
        holders.confirm(second, 2);
        assert!(holders.are_past(1) && !holders.are_past(2));
        holders.confirm(first, 1);
        assert!(holders.are_past(1), "nothing goes back");
        holders.remove(first);
        holders.confirm(second, 3);
        assert!(holders.are_past(2));
    }
}
