//! The transaction of a delivery, written down after every event so that whoever comes next goes on with it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::content::Content;
use crate::config::DeliveryConfig;
use crate::fingerprint::digest;
use crate::payload::Payload;
use crate::secret::SecretValue;
use crate::state::{Slot, State};
use crate::transaction::{Event, Outcome, Rules, Situation, Step, Transaction};

/// A transaction and where it is written down.
#[derive(Debug)]
pub(super) struct Journal {
    record: Record,
    rules: Rules,
    slot: Slot,
}

/// What is written down.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Record {
    transaction: Transaction,
    /// What is under way, or was last.
    content: Option<Content>,
    /// What was rejected, where it is known: a source without versions gives other ones to each process.
    rejected: Option<Content>,
}

impl Record {
    /// Returns the generation that may have to come back.
    pub(super) fn base(&self) -> Option<&str> {
        self.transaction.base()
    }
}

/// The kind of record that a delivery's transaction is.
pub(in crate::engine) const RECORD: &str = "delivery";

impl Journal {
    pub(super) fn new(config: &DeliveryConfig, state: &State) -> Self {
        let within = config.change.verify.as_ref().map(|probe| probe.within);
        Self {
            record: Record::default(),
            rules: Rules { notifiers: config.change.on_change.len(), within },
            slot: state.slot(RECORD, &digest(config.directory.as_os_str().as_encoded_bytes())),
        }
    }

    /// Returns the place of the record.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Reads what was written down.
    pub(super) async fn load(&self) -> Option<Record> {
        let record = self.slot.load().await?;
        let read = serde_json::from_slice(record.expose_secret());
        read.map_err(|_| {
            warn!("the record of a delivery is not what was written; its last change counts as good")
        })
        .ok()
    }

    /// Goes on with `written` in a directory in which `current` is visible.
    pub(super) async fn resume(&mut self, written: Option<Record>, current: Option<&str>, now: Timestamp) {
        let transaction = written.as_ref().map(|written| written.transaction.clone());
        self.record = Record {
            transaction: Transaction::resume(transaction, current, self.rules, now),
            ..written.unwrap_or_default()
        };
        self.save().await;
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.record.transaction
    }

    /// Tells whether the application is asked to prove that it works.
    pub(super) fn verifies(&self) -> bool {
        self.rules.within.is_some()
    }

    pub(super) fn next(&self, at: Situation<'_>) -> Step {
        self.record.transaction.next(self.rules, at)
    }

    /// Notes what is about to become visible, to be written down with the next event; returns what was under way before.
    pub(super) fn begin(&mut self, content: Option<Content>) -> Option<Content> {
        std::mem::replace(&mut self.record.content, content)
    }

    /// Tells whether the application did not work with these files, whatever their versions are called.
    pub(super) fn has_rejected(&self, payload: &Payload) -> bool {
        let rejected = self.record.rejected.as_ref().filter(|_| self.record.transaction.rejected().is_some());
        rejected.is_some_and(|rejected| rejected.is_of(payload))
    }

    /// Takes in what happened, and writes it down.
    pub(super) async fn note(&mut self, event: Event, now: Timestamp, can_go_back: bool) -> Option<Outcome> {
        let has_reverted = event == Event::Reverted;
        let outcome = self.record.transaction.note(event, self.rules, now, can_go_back);
        if has_reverted {
            self.record.rejected.clone_from(&self.record.content);
        }
        self.save().await;
        outcome
    }

    /// Has whoever comes next try once more what was rejected: it was stopped by somebody who may have mended it.
    pub(super) async fn end(mut self) {
        if self.record.transaction.rejected().is_some() {
            self.record.transaction = self.record.transaction.clone().without_rejection();
            self.save().await;
        }
    }

    async fn save(&self) {
        // Without anybody to tell and a proof to wait for, a change is whole when it is visible.
        if self.rules.notifiers == 0 && self.rules.within.is_none() {
            return;
        }
        // It has names, versions, digests and times, nothing that JSON cannot hold.
        if let Ok(record) = serde_json::to_vec(&self.record) {
            self.slot.save(SecretValue::from(record)).await;
        }
    }
}
