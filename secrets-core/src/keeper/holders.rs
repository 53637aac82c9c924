//! Who still relies on which value of a secret, so that the lease of none is ended under anybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Everybody who relies on the values of one secret.
#[derive(Clone, Debug)]
pub(super) struct Holders(Arc<watch::Sender<Confirmed>>);

/// By holder, the revision that it confirmed last.
#[derive(Debug, Default)]
struct Confirmed {
    revisions: BTreeMap<u64, u64>,
    next: u64,
}

/// One who relies on the values of a secret. Dropped, it relies on none.
#[derive(Debug)]
pub struct Hold {
    holders: Holders,
    id: u64,
}

impl Holders {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Confirmed::default())))
    }

    pub(super) fn hold(&self) -> Hold {
        let mut id = 0;
        self.0.send_modify(|confirmed| {
            id = confirmed.next;
            confirmed.next += 1;
            confirmed.revisions.insert(id, 0);
        });
        Hold { holders: self.clone(), id }
    }

    /// Tells whether nobody needs the value of `revision` any more: all have confirmed a newer one.
    pub(super) fn are_past(&self, revision: u64) -> bool {
        self.0.borrow().revisions.values().all(|confirmed| *confirmed > revision)
    }

    /// Returns what changes whenever somebody has confirmed a value, or relies on none any more.
    pub(super) fn changes(&self) -> HolderChanges {
        HolderChanges(self.0.subscribe())
    }
}

/// Waits for changes of [`Holders`].
#[derive(Debug)]
pub(super) struct HolderChanges(watch::Receiver<Confirmed>);

impl HolderChanges {
    pub(super) async fn changed(&mut self) {
        // The keeper has the sender, too: it outlives this.
        self.0.changed().await.ok();
    }
}

impl Hold {
    /// Says that nothing older than the value of `revision` is needed here any more.
    pub fn confirm(&self, revision: u64) {
        self.holders.0.send_modify(|confirmed| {
            if let Some(known) = confirmed.revisions.get_mut(&self.id) {
                *known = revision.max(*known);
            }
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holders.0.send_modify(|confirmed| {
            confirmed.revisions.remove(&self.id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_needed_until_all_have_confirmed_a_newer_one_or_are_gone() {
        let holders = Holders::new();
        assert!(holders.are_past(1), "nobody needs anything");
        let (first, second) = (holders.hold(), holders.hold());
        assert!(!holders.are_past(0));
        first.confirm(2);
        assert!(!holders.are_past(1));
        second.confirm(2);
        assert!(holders.are_past(1) && !holders.are_past(2));
        first.confirm(1);
        assert!(holders.are_past(1), "nothing goes back");
        drop(first);
        second.confirm(3);
        assert!(holders.are_past(2));
    }
}
