//! Waits for replicas to say that they use what was published.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::ledger::RETRY;
use super::{Rotator, store_of};
use crate::clock::later;
use crate::error::Result;
use crate::rotation::acknowledge::Acknowledgements;
use crate::rotation::course::{Attempt, Phase, Step};
use crate::rotation::record::Record;

/// How many replicas use what was published, and of how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acknowledged {
    /// Those that said so.
    pub count: usize,
    /// Those that have to.
    pub expected: u32,
}

impl Rotator {
    /// Returns what is next, replicas having been heard.
    pub(super) fn next(
        &self,
        record: &Record,
        now: Timestamp,
        is_due: bool,
        acknowledged: Option<Acknowledged>,
    ) -> Step {
        let step = record.course.next(now, is_due);
        let Some(wanted) = self.rotation.acknowledge.filter(|_| step == Step::Retire) else { return step };
        let count = acknowledged.map_or(0, |acknowledged| acknowledged.count);
        match wanted.keeps_until(&record.course, count, now) {
            Some(until) => Step::WaitUntil(until.min(later(now, LISTEN_AGAIN))),
            None => step,
        }
    }

    /// As [`next`](Self::next); replicas are asked for where that depends on them.
    pub(super) async fn next_heard(&self, record: &Record, now: Timestamp, is_due: bool) -> Step {
        let acknowledged = match record.course.next(now, is_due) {
            Step::Retire => self.acknowledged(record).await,
            _ => None,
        };
        self.next(record, now, is_due, acknowledged)
    }

    /// Counts those that use what was published; none where nobody is waited for, as in an emergency. Without an answer nobody is known to.
    pub(super) async fn acknowledged(&self, record: &Record) -> Option<Acknowledged> {
        let (Phase::Published { attempt, .. }, Some(wanted), Some(last)) =
            (record.course.phase(), self.rotation.acknowledge, record.course.last())
        else {
            return None;
        };
        if attempt.is_emergency {
            return None;
        }
        let all = self.acknowledgements().await.unwrap_or_else(|error| {
            warn!(rotation = self.rotation.name, %error, "it is not known who uses the new value");
            Acknowledgements::default()
        });
        Some(Acknowledged { count: all.count(&last.revision), expected: wanted.expect })
    }

    /// Checks, before anything is changed, that replicas could be heard. An emergency waits for nobody.
    pub(super) async fn check_acknowledgements(&self, attempt: &Attempt) -> Result<()> {
        match self.rotation.acknowledge {
            Some(_) if !attempt.is_emergency => self.acknowledgements().await.map(drop),
            _ => Ok(()),
        }
    }

    /// Says before the old value goes that somebody may still use it.
    pub(super) async fn lament_missing(&self, record: &Record) {
        let missing =
            self.acknowledged(record).await.filter(|said| (said.count as u64) < u64::from(said.expected));
        if let Some(Acknowledged { count, expected }) = missing {
            warn!(
                rotation = self.rotation.name,
                acknowledged = count,
                expected,
                "the old value goes although not all have said that they use the new one"
            );
        }
    }

    async fn acknowledgements(&self) -> Result<Acknowledgements> {
        let store = store_of(&self.provider)?;
        let place = RETRY.run(|| store.acknowledgements_of(&self.rotation.target)).await?;
        let found = RETRY.run(|| store.look(&place)).await?;
        Ok(Acknowledgements::parse(found.fields.as_ref()))
    }
}

/// How soon after they were asked for replicas are asked for again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
