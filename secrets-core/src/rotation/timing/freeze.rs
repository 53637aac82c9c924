//! Spans of time in which no rotation begins.

use jiff::Timestamp;

/// Spans with their begin and without their end, in order, none of which touches another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Freezes(Vec<(Timestamp, Timestamp)>);

impl Freezes {
    /// Takes spans in any order; those that overlap or touch become one.
    pub(super) fn new(mut spans: Vec<(Timestamp, Timestamp)>) -> Self {
        spans.retain(|(from, until)| from < until);
        spans.sort();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, until) in spans {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = until.max(*end),
                _ => merged.push((from, until)),
            }
        }
        Self(merged)
    }

    /// Returns the spans.
    pub(super) fn spans(&self) -> &[(Timestamp, Timestamp)] {
        &self.0
    }

    /// Returns the end of the span that `at` is in.
    pub(super) fn until(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.0.partition_point(|(_, until)| *until <= at);
        self.0.get(next).filter(|(from, _)| *from <= at).map(|(_, until)| *until)
    }

    /// Returns the first moment from `at` on that is in none of them.
    pub(super) fn clear(&self, at: Timestamp) -> Timestamp {
        self.until(at).unwrap_or(at)
    }
}
