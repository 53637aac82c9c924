//! Retired generations: replaced, and kept a while for the readers that resolved `..data` before.

use tokio::time::Instant;

use super::generation::Generation;

/// The retired generations, oldest first, and until when each is kept.
#[derive(Debug, Default)]
pub(super) struct Retired(Vec<(Generation, Instant)>);

impl Retired {
    /// The most that are kept.
    pub(super) const MOST: usize = 3;

    /// Adds the generation that was just replaced, and returns those that are too many now.
    pub(super) fn add(&mut self, name: Generation, until: Instant) -> Vec<Generation> {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, until));
        let surplus = self.0.len().saturating_sub(Self::MOST);
        self.0.drain(..surplus).map(|(name, _)| name).collect()
    }

    /// Takes those out whose time has passed.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Generation> {
        let due = self.0.extract_if(.., |(_, until)| *until <= now);
        due.map(|(name, _)| name).collect()
    }

    /// Returns when the next one is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    /// Forgets `name`, which is needed again.
    pub(super) fn forget(&mut self, name: &Generation) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Takes all of them out.
    pub(super) fn take_all(&mut self) -> Vec<Generation> {
        self.0.drain(..).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keeps_the_newest_until_they_are_due() {
        let start = crate::clock::Clock::system().instant();
        let after = |seconds| start + Duration::from_secs(seconds);
        let name = |n: u64| Generation::parse(&format!("..2026_11_22_07_00_00.{n}")).unwrap();
        let mut retired = Retired::default();
        assert_eq!(retired.next_at(), None);
        for n in 0..3 {
            assert_eq!(retired.add(name(n), after(n)), []);
        }
        assert_eq!(retired.add(name(3), after(3)), [name(0)]);
        assert_eq!(retired.next_at(), Some(after(1)));
        assert_eq!(retired.take_due(after(2)), [name(1), name(2)]);
        assert_eq!(retired.take_due(after(2)), []);
        assert_eq!(retired.add(name(3), after(9)), [], "the same one again counts once");
        assert_eq!(retired.next_at(), Some(after(9)));
    }
}
