//! Secrets begin in turns: a thousand first reads at once would take the room of a thousand, while their provider asks for a few at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who begins and who waits for it, by provider: one that hangs holds up nobody else's secrets.
#[derive(Debug)]
pub(super) struct Turns<T>(BTreeMap<String, Turn<T>>);

#[derive(Debug)]
struct Turn<T> {
    under_way: BTreeSet<usize>,
    waiting: VecDeque<(usize, T)>,
}

impl<T> Turns<T> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Has `waiting` wait for a turn at `provider`.
    pub(super) fn add(&mut self, provider: &str, index: usize, waiting: T) {
        let turn = self.0.entry(provider.to_owned());
        let turn = turn.or_insert_with(|| Turn { under_way: BTreeSet::new(), waiting: VecDeque::new() });
        turn.waiting.push_back((index, waiting));
    }

    /// Ends the turn of `index`, if it has one.
    pub(super) fn end(&mut self, index: usize) {
        self.0.values_mut().for_each(|turn| _ = turn.under_way.remove(&index));
        self.0.retain(|_, turn| !turn.under_way.is_empty() || !turn.waiting.is_empty());
    }

    /// Returns who has waited longest at a provider that has a free turn, which is taken by that.
    pub(super) fn next(&mut self) -> Option<(usize, T)> {
        let turn =
            self.0.values_mut().find(|turn| turn.under_way.len() < AT_ONCE && !turn.waiting.is_empty())?;
        let (index, waiting) = turn.waiting.pop_front()?;
        turn.under_way.insert(index);
        Some((index, waiting))
    }
}

/// More than a provider asks for at a time, so that it is never idle; and several calls of one that answers twenty at once (BatchGetSecretValue), which would
/// be asked for fewer otherwise.
const AT_ONCE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_in_order_and_by_each_provider_for_itself() {
        let mut turns = Turns::new();
        (0..AT_ONCE + 2).for_each(|index| turns.add("hangs", index, ()));
        turns.add("works", 1_000, ());
        let mut begun: Vec<usize> = std::iter::from_fn(|| turns.next()).map(|(index, ())| index).collect();
        assert_eq!(begun.pop(), Some(1_000));
        assert_eq!(begun, (0..AT_ONCE).collect::<Vec<_>>());
        turns.end(1_000);
        assert_eq!(turns.next(), None, "the turns of one are no other's");
        turns.end(3);
        assert_eq!(turns.next(), Some((AT_ONCE, ())));
        (0..=AT_ONCE).for_each(|index| turns.end(index));
        assert_eq!(turns.next(), Some((AT_ONCE + 1, ())));
        turns.end(AT_ONCE + 1);
        assert!(turns.0.is_empty());
    }
}
