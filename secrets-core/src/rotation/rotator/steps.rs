//! What each step does.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::ledger::{RETRY, token};
use super::{Ask, Rotator, store_of};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::rotation::course::{Attempt, Event, Phase, Step};
use crate::rotation::record::Record;
use crate::rotation::store::{Document, Fields, Revision};
use crate::rotation::strategy::Turn;

impl Rotator {
    pub(super) async fn perform(&self, step: Step, ask: &Ask, record: &mut Record) -> Event {
        let within = self.strategy.longest_step();
        let done = tokio::time::timeout(within, self.do_step(step, ask, record)).await;
        let done = done.unwrap_or_else(|_| {
            let reason = format!("the step `{}` was not done within {within:?}", step.as_str());
            Err(Error::new(ErrorKind::Timeout, "rotate", reason))
        });
        done.unwrap_or_else(|error| Event::Failed(error.with("step", step.as_str())))
    }

    async fn do_step(&self, step: Step, ask: &Ask, record: &mut Record) -> Result<Event> {
        if step == Step::Create {
            return self.create(ask, record).await;
        }
        let (Some(attempt), Some(new)) = (record.course.phase().attempt(), &record.new) else {
            return Err(Error::new(ErrorKind::Invalid, "rotate", "the record has lost the values"));
        };
        let turn = attempt.turn(new, record.old.as_ref());
        match step {
            Step::Set => self.strategy.set(turn).await.map(|()| Event::Set),
            Step::Test => self.strategy.test(turn).await.map(|()| Event::Tested),
            Step::Finish => self.finish(attempt, new).await,
            Step::Retire => {
                self.lament_missing(record).await;
                self.retire(turn).await
            }
            Step::Revert => self.revert(attempt, turn).await,
            Step::Undo => self.undo(turn).await,
            Step::Create | Step::Rest | Step::WaitUntil(_) => Ok(Event::Undone),
        }
    }

    async fn create(&self, ask: &Ask, record: &mut Record) -> Result<Event> {
        let found = self.look_at_target().await?;
        let old = found.fields.as_ref().and_then(|fields| self.rotation.names.view(fields));
        let new = self.strategy.create(old.as_ref()).await?;
        let token = token();
        let (begun_at, base) = (self.clock.now(), found.revision);
        let attempt = Attempt { token, begun_at, base, is_emergency: ask.revoke_old };
        self.strategy.check(attempt.turn(&new, old.as_ref())).await?;
        self.check_acknowledgements(&attempt).await?;
        (record.new, record.old) = (Some(new), old);
        Ok(Event::Created(attempt))
    }

    async fn finish(&self, attempt: &Attempt, new: &Fields) -> Result<Event> {
        let names = &self.rotation.names;
        let found = self.look_at_target().await?;
        if !self.publishes() || names.holds(found.fields.as_ref(), Some(new)) {
            return Ok(Event::Published(found.revision));
        }
        if found.revision != attempt.base {
            return Ok(Event::Superseded);
        }
        let merged = names.merge(found.fields.as_ref(), new);
        self.publish(&merged, &found.revision, &attempt.token).await.map(Event::Published)
    }

    /// Retires the old value, if it is not the one that is published: somebody may have gone back to it by hand.
    async fn retire(&self, turn: Turn<'_>) -> Result<Event> {
        if !self.publishes() {
            return self.strategy.retire(turn).await.map(|()| Event::Retired);
        }
        let found = self.look_at_target().await?;
        if turn.old.is_some() && self.rotation.names.holds(found.fields.as_ref(), turn.old) {
            return Ok(Event::Reverted);
        }
        self.strategy.retire(turn).await.map(|()| Event::Retired)
    }

    async fn revert(&self, attempt: &Attempt, turn: Turn<'_>) -> Result<Event> {
        let names = &self.rotation.names;
        let Some(old) = turn.old else {
            return Err(Error::new(ErrorKind::Rejected, "roll back", "there was no value before"));
        };
        let found = self.look_at_target().await?;
        if names.holds(found.fields.as_ref(), Some(old)) {
            return Ok(Event::Reverted);
        }
        if !names.holds(found.fields.as_ref(), Some(turn.new)) {
            return Ok(Event::Superseded);
        }
        let merged = names.merge(found.fields.as_ref(), old);
        let token = format!("{}-back", attempt.token);
        self.publish(&merged, &found.revision, &token).await.map(|_| Event::Reverted)
    }

    /// Undoes what was set, unless it turns out to be published.
    async fn undo(&self, turn: Turn<'_>) -> Result<Event> {
        let found = self.look_at_target().await?;
        let is_published = match self.publishes() {
            true => self.rotation.names.holds(found.fields.as_ref(), Some(turn.new)),
            false => found.revision != *turn.base,
        };
        if is_published {
            return Ok(Event::Published(found.revision));
        }
        self.strategy.undo(turn).await.map(|()| Event::Undone)
    }

    async fn publish(&self, fields: &Fields, expected: &Revision, token: &str) -> Result<Revision> {
        let (store, target) = (store_of(&self.provider)?, &self.rotation.target);
        RETRY.run(|| store.write(target, fields, expected, token)).await
    }

    pub(super) async fn look_at_target(&self) -> Result<Document> {
        if !self.publishes() {
            return RETRY.run(|| self.strategy.look()).await;
        }
        let store = store_of(&self.provider)?;
        RETRY.run(|| store.look(&self.rotation.target)).await
    }

    /// Takes back what was set where that could not be written down and what is published may not work; only while nobody else can be at it.
    pub(super) async fn leave_working(&self, before: &Phase, record: &Record, held_until: Option<Timestamp>) {
        let (Some(attempt), Some(new)) = (before.attempt(), &record.new) else { return };
        let is_set = matches!(record.course.phase(), Phase::Set(_) | Phase::Tested(_));
        if self.rotation.rules.is_gapless || !is_set {
            return;
        }
        let turn = Turn { is_emergency: false, ..attempt.turn(new, record.old.as_ref()) };
        let left = held_until.map_or(Duration::ZERO, |until| clock::until(self.clock.now(), until));
        match tokio::time::timeout(left, self.strategy.undo(turn)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(rotation = self.rotation.name, %error, "what was set could not be taken back")
            }
            Err(_) => warn!(rotation = self.rotation.name, "what was set is left to whoever goes on with it"),
        }
    }
}

impl Attempt {
    /// Returns what the strategy is given of it.
    fn turn<'a>(&'a self, new: &'a Fields, old: Option<&'a Fields>) -> Turn<'a> {
        Turn { token: &self.token, new, old, base: &self.base, is_emergency: self.is_emergency }
    }
}
