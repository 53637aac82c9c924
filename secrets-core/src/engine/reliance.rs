//! Which values of its secrets a delivery still needs: those in the generation that readers see, and, for the overlap, the ones before.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::delivery::{Inputs, Revisions};
use crate::keeper::Hold;

/// Has the leases behind a delivery's files stay as long as somebody may use them.
#[derive(Debug)]
pub(super) struct Reliance {
    /// In the order of the inputs.
    holds: Vec<Hold>,
    /// The revisions that became visible, each with the moment from which on nothing older is needed.
    moves: VecDeque<(Instant, Revisions)>,
}

impl Reliance {
    pub(super) fn new(inputs: &Inputs) -> Self {
        let holds = inputs.values().map(|input| input.handle.hold()).collect();
        Self { holds, moves: VecDeque::new() }
    }

    /// Notes that readers see the values of `revisions` now, and that from `at` on nobody uses older ones.
    pub(super) fn moves_to(&mut self, revisions: Revisions, at: Instant) {
        if self.moves.back().is_none_or(|(_, last)| *last != revisions) {
            self.moves.push_back((at, revisions));
        }
    }

    /// Returns when something is to be confirmed.
    pub(super) fn confirm_at(&self) -> Option<Instant> {
        self.moves.front().map(|(at, _)| *at)
    }

    /// Confirms what is due.
    pub(super) fn confirm(&mut self, now: Instant) {
        while let Some((_, revisions)) = self.moves.pop_front_if(|(at, _)| *at <= now) {
            for (hold, revision) in self.holds.iter().zip(revisions) {
                hold.confirm(revision);
            }
        }
    }
}
