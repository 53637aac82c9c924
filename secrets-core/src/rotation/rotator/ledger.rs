//! Reads the record, and writes it down between two steps.

use std::time::Duration;

use jiff::Timestamp;

use super::{Rotator, store_of};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::RetryPolicy;
use crate::reference::SecretRef;
use crate::rotation::course::{Phase, Step};
use crate::rotation::hold::Hold;
use crate::rotation::record::Record;
use crate::rotation::store::{Document, Revision};

/// The record as it was read last, and what the store calls that state.
pub(super) struct Open {
    pub(super) record: Record,
    revision: Revision,
}

impl Rotator {
    pub(super) async fn open(&self) -> Result<Open> {
        let (store, place) = (store_of(&self.provider)?, self.record_at().await?);
        let Document { fields, revision, .. } = RETRY.run(|| store.look(place)).await?;
        let about = (!self.publishes()).then(|| self.rotation.target.path().to_owned());
        let found = fields.map(Record::parse).transpose().map_err(|error| error.with("record", place))?;
        let record = match found {
            Some(record) if record.about == about => record,
            // Nothing came of it: somebody has corrected the target.
            Some(record) if record.is_unused() => Record::first(about, self.clock.now()),
            None => Record::first(about, self.clock.now()),
            Some(_) => {
                return Err(Error::config("rotate", "the record is another rotation's")
                    .with("record", place)
                    .with_help("give `record` a place of its own"));
            }
        };
        Ok(Open { record, revision })
    }

    /// Returns what keeps others away while a step is done.
    pub(super) fn hold(&self, now: Timestamp) -> Hold {
        Hold::new(&self.me, now, self.strategy.longest_step())
    }

    async fn record_at(&self) -> Result<&SecretRef> {
        let find = || async {
            let store = store_of(&self.provider)?;
            RETRY.run(|| store.record_of(&self.rotation.target)).await
        };
        self.record_at.get_or_try_init(find).await
    }

    /// Writes the record down after a step: held while there is more to do, and without the values when they are not needed any more.
    pub(super) async fn settle(&self, open: &mut Open) -> Result<()> {
        let now = self.clock.now();
        let next = self.next_heard(&open.record, now, false).await;
        let rests = matches!(next, Step::Rest | Step::WaitUntil(_));
        let goes_on = !rests || self.must_not_rest(&open.record.course);
        open.record.hold = goes_on.then(|| self.hold(now));
        if matches!(open.record.course.phase(), Phase::Idle) {
            (open.record.new, open.record.old) = (None, None);
        }
        self.save(open).await
    }

    pub(super) async fn save(&self, open: &mut Open) -> Result<()> {
        let (store, place) = (store_of(&self.provider)?, self.record_at().await?);
        let (fields, token) = (open.record.to_fields()?, token());
        match RETRY.run(|| store.write(place, &fields, &open.revision, &token)).await {
            Ok(revision) => open.revision = revision,
            Err(error) if error.kind() == ErrorKind::Conflict => {
                // A write whose answer was lost may be our own.
                let now = self.open().await?;
                if now.record.course != open.record.course || now.record.hold != open.record.hold {
                    return Err(Error::new(ErrorKind::Conflict, "rotate", "another rotator is at it")
                        .with("record", place));
                }
                open.revision = now.revision;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Returns a name that nothing else has, in the form of a UUID.
pub(super) fn token() -> String {
    let bits = fastrand::u128(..);
    let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (digits * 4)) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 8),
        part(80, 4),
        part(64, 4),
        part(48, 4),
        part(0, 12)
    )
}

/// How the store is asked again, when it does not answer for a moment.
pub(super) const RETRY: RetryPolicy =
    RetryPolicy { retries: 3, first: Duration::from_millis(250), longest: Duration::from_secs(2) };
