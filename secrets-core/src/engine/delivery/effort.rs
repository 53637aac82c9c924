//! What a delivery is trying to do: how often it failed, what it waits for, and whether somebody wants it now.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{Span, warn};

use super::Delivery;
use crate::clock::later;
use crate::engine::refresh::Asked;
use crate::error::Error;
use crate::schedule::{self, Failure};
use crate::transaction::{Event, Versions};

/// What a delivery remembers of what it is trying to do.
#[derive(Debug, Default)]
pub(super) struct Effort {
    /// How often it failed in a row.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Timestamp>,
    /// When the values were seen first that wait for their window, and which they are.
    pub(super) seen: Option<(Timestamp, Versions)>,
    /// Whether somebody wants them now.
    pub(super) hurries: bool,
    /// How many looks at the application were good in a row.
    pub(super) good_looks: u32,
    /// What is traced of the change that is under way.
    pub(super) change: Option<Span>,
}

impl Delivery {
    /// Returns until when values have to wait for their window. The first ones do not wait, nor do those that somebody wants now.
    pub(super) fn hold_until(&mut self, newer: &Versions, now: Timestamp) -> Option<Timestamp> {
        let timing = &self.config.change.timing;
        if self.effort.hurries || self.journal.transaction().base().is_none() {
            return None;
        }
        let seen_at = match &self.effort.seen {
            Some((seen_at, versions)) if versions == newer => *seen_at,
            _ => now,
        };
        self.effort.seen = Some((seen_at, newer.clone()));
        let within = self.config.change.verify.as_ref().map_or(Duration::ZERO, |probe| probe.within);
        let grace =
            SignedDuration::try_from(self.config.change.overlap() + within + MARGIN).unwrap_or_default();
        let latest = self.values.base_ends_at().map(|ends_at| ends_at.saturating_sub(grace).unwrap_or(now));
        let applies_at = timing.applies_at(seen_at, latest);
        (applies_at > now).then_some(applies_at)
    }

    /// Asks every source now, and tries what was rejected again.
    pub(super) async fn hurry(&mut self) {
        Asked::fetch(self.values.inputs.values()).await;
        self.note(Event::Asked).await;
        self.effort = Effort { hurries: true, change: self.effort.change.take(), ..Effort::default() };
        if self.journal.transaction().is_idle() && self.values.visible != *self.values.taken() {
            self.values.take_back();
        }
    }

    /// Notes a failure and when to try again.
    pub(super) fn failed(&mut self, error: Error) {
        self.effort.failures += 1;
        let failures = self.effort.failures;
        let failure = Failure { temporary: true, count: failures, retry_after: None };
        let wait = schedule::after_failure(failure, Duration::ZERO, fastrand::f64());
        self.effort.retry_at = Some(later(self.clock.now(), wait));
        if failures.is_power_of_two() {
            warn!(delivery = self.name(), %error, failures, "the delivery is not in step; the last generation stays");
        }
        self.state.send_modify(|state| state.error = Some(error));
    }

    /// Notes that what was to be done is done.
    pub(super) fn succeeded(&mut self) {
        self.effort.failures = 0;
        // The first look at the application has a time of its own.
        if !self.journal.transaction().awaits_proof() {
            self.effort.retry_at = None;
        }
        self.state.send_modify(|state| state.error = None);
    }
}

/// How long before what the application works with ends a change does not wait for its window any more, beside what applying it takes.
const MARGIN: Duration = Duration::from_secs(5);
