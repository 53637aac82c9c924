//! Step after step, until there is nothing to do at this moment.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::ledger::Open;
use super::{Ask, Progress, Rotator};
use crate::client::named;
use crate::clock::later;
use crate::error::{Error, ErrorKind, Result};
use crate::rotation::course::{Course, Event, Phase, Step};
use crate::rotation::record::Record;
use crate::rotation::store::Revision;
use crate::rotation::timing::Due;
use crate::trace;

/// One call of [`Rotator::advance`], as far as it is.
struct Run<'a> {
    ask: &'a Ask,
    /// Whether a new value is wanted, whatever the schedule says.
    wants_new: bool,
    begun_at: Instant,
    /// What failed first and was not overcome.
    failed: Option<Error>,
    published: Option<Revision>,
    /// Whether that is what this rotation made, and is written down.
    has_finished: bool,
}

impl<'a> Run<'a> {
    fn new(ask: &'a Ask, begun_at: Instant) -> Self {
        Self { ask, wants_new: false, begun_at, failed: None, published: None, has_finished: false }
    }
}

impl Rotator {
    /// As [`advance`](Self::advance); tells also after a failure whether a rotation was published before it.
    pub(in crate::rotation) async fn advance_telling(&self, ask: &Ask) -> (bool, Result<Progress>) {
        let mut run = Run::new(ask, self.clock.instant());
        let advanced = self.advance_to_rest(&mut run).await;
        let named = |error| named(error, &self.rotation.target).with("rotation", &self.rotation.name);
        (run.has_finished, advanced.map_err(named))
    }

    async fn advance_to_rest(&self, run: &mut Run<'_>) -> Result<Progress> {
        let mut open = self.open().await?;
        if let Some(busy) = self.busy(&open.record).await? {
            return Ok(busy);
        }
        run.wants_new = self.take_in(run.ask, &mut open.record)?;
        while let Some(step) = self.next_step(run, &open.record).await? {
            if step != Step::Create && !self.may_begin(&open.record) {
                if !open.record.hold.as_ref().is_some_and(|hold| hold.by == self.me) {
                    open.record.course.resume(self.rotation.rules);
                }
                open.record.hold = Some(self.hold(self.clock.now()));
                self.save(&mut open).await?;
                continue;
            }
            match self.take_step(step, run, &mut open).await {
                Err(error) if step == Step::Create && error.kind() == ErrorKind::Conflict => {
                    return self.outrun(error, run.ask).await;
                }
                taken => taken?,
            }
        }
        match run.failed.take() {
            Some(error) => Err(error),
            None => self.progress(&open.record, run.published.clone(), false).await,
        }
    }

    /// Returns what is to be done now, if anything is. Where what is published may not work, it is waited for.
    async fn next_step(&self, run: &Run<'_>, record: &Record) -> Result<Option<Step>> {
        loop {
            let now = self.clock.now();
            let is_due = run.wants_new || self.is_due(record, now).await?;
            match self.next_heard(record, now, is_due).await {
                Step::WaitUntil(at)
                    if self.must_not_rest(&record.course)
                        && self.clock.instant() - run.begun_at < UNSAFE_WITHIN =>
                {
                    self.clock.sleep_until_time(at).await;
                }
                Step::Rest | Step::WaitUntil(_) => return Ok(None),
                step => return Ok(Some(step)),
            }
        }
    }

    /// Performs a step, and writes down what came of it.
    async fn take_step(&self, step: Step, run: &mut Run<'_>, open: &mut Open) -> Result<()> {
        let span = trace::rotate(&self.rotation.name, step.as_str());
        let event = self.perform(step, run.ask, &mut open.record).instrument(span.clone()).await;
        match &event {
            Event::Failed(error) => {
                trace::failed(&span, error);
                run.failed.get_or_insert_with(|| error.clone());
            }
            Event::Superseded => {
                let error = superseded();
                trace::failed(&span, &error);
                run.failed.get_or_insert(error);
            }
            // What failed on the way was overcome.
            Event::Published(revision) => (run.published, run.failed) = (Some(revision.clone()), None),
            _ => {}
        }
        // What could not be begun is tried again when the record says so, whoever asked.
        run.wants_new &= step != Step::Create;
        let before = open.record.course.phase().clone();
        let held_until = open.record.hold.as_ref().map(|hold| hold.until);
        open.record.course.note(event.clone(), self.rotation.rules, self.clock.now());
        let settled = self.settle(open).await;
        let was_outrun = step == Step::Create && settled.is_err();
        if !was_outrun {
            self.audit(step, &event, run.ask, &before);
        }
        match &settled {
            Ok(()) => run.has_finished |= step == Step::Finish && matches!(event, Event::Published(_)),
            // Somebody else is at it, and sees to it that what is published works.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(_) => self.leave_working(&before, &open.record, held_until).await,
        }
        settled
    }

    /// Tells whether this rotator keeps all others away for as long as a step may take that begins now. One that stood still for a while has to ask anew.
    fn may_begin(&self, record: &Record) -> bool {
        let end = later(self.clock.now(), self.strategy.longest_step());
        record.hold.as_ref().is_some_and(|hold| hold.by == self.me && hold.until >= end)
    }

    /// Somebody else began at the same moment: what was made here is forgotten, and nobody has seen it.
    async fn outrun(&self, error: Error, ask: &Ask) -> Result<Progress> {
        match ask.now {
            true => Err(error),
            false => {
                let open = self.open().await?;
                self.progress(&open.record, None, true).await
            }
        }
    }

    /// Takes in what is asked for; tells whether a new value is wanted beside what is under way.
    fn take_in(&self, ask: &Ask, record: &mut Record) -> Result<bool> {
        if ask.roll_back {
            if !self.publishes() {
                let reason = "the source keeps the value itself, and has no way back to the one before";
                return Err(Error::new(ErrorKind::Unsupported, "roll back", reason));
            }
            record.course.roll_back(self.rotation.rules)?;
        }
        if ask.now || ask.roll_back || ask.revoke_old {
            record.course.retry_now();
        }
        if ask.revoke_old {
            record.course.revoke_old(self.clock.now());
        }
        let is_finishing =
            matches!(record.course.phase(), Phase::Created(_) | Phase::Set(_) | Phase::Tested(_));
        Ok(ask.now && !is_finishing)
    }

    async fn is_due(&self, record: &Record, now: Timestamp) -> Result<bool> {
        if !matches!(record.course.phase(), Phase::Idle) {
            return Ok(false);
        }
        let replaced_at = self.replaced_at(record).await?;
        Ok(matches!(self.rotation.timing.next(&self.rotation.name, replaced_at, now), Due::Now(_)))
    }

    /// Tells whether what is published may not work until the next step is done.
    pub(super) fn must_not_rest(&self, course: &Course) -> bool {
        let is_between = matches!(
            course.phase(),
            Phase::Created(_) | Phase::Set(_) | Phase::Tested(_) | Phase::Undoing { .. }
        );
        is_between && !self.rotation.rules.is_gapless
    }
}

fn superseded() -> Error {
    let reason = "somebody else changed the target meanwhile; what was made is taken back";
    Error::new(ErrorKind::Conflict, "rotate", reason)
}

/// For how long one call tries to get a credential to work again.
const UNSAFE_WITHIN: Duration = Duration::from_secs(60);
