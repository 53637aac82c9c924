//! How many schedules of one namespace are looked at at once: those whose servers never answer take no other namespace's turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The turns that are taken, by namespace.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    taken: Arc<Mutex<HashMap<String, u16>>>,
    share: u16,
}

/// One turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    all: Turns,
    namespace: String,
}

impl Turns {
    /// Shares so many turns: a namespace has a quarter of them at most, and one at least.
    pub(super) fn of(concurrency: u16) -> Self {
        Self { taken: Arc::default(), share: (concurrency / 4).max(1) }
    }

    /// Takes a turn, if the namespace may have another one.
    pub(super) fn take(&self, namespace: &str) -> Option<Turn> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(namespace.to_owned()).or_default();
        if *own >= self.share {
            return None;
        }
        *own += 1;
        Some(Turn { all: self.clone(), namespace: namespace.to_owned() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.all.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.namespace) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_its_share_and_gives_it_back() {
        let turns = Turns::of(8);
        let own = [turns.take("one").unwrap(), turns.take("one").unwrap()];
        assert!(turns.take("one").is_none());
        assert!(turns.take("other").is_some(), "another one's are its own");
        drop(own);
        assert!(turns.take("one").is_some() && turns.taken.lock().unwrap().is_empty());
        assert!(Turns::of(1).take("one").is_some());
    }
}
