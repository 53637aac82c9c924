//! Performs the steps of one rotation, and writes down what came of each.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tracing::{info, warn};

use super::config::{Names, RotationConfig};
use super::course::{Attempt, Course, Event, Phase, Rules, Step};
use super::hold::{Hold, Holder};
use super::record::Record;
use super::store::{Document, Fields, Revision, Store};
use super::strategy::{Strategy, StrategyContext, Turn};
use super::timing::{Due, RotationTiming};
use crate::client::{Client, named};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::RetryPolicy;
use crate::provider::Provider;
use crate::reference::SecretRef;

/// Rotates one secret.
#[derive(Debug)]
pub struct Rotator {
    rotation: Rotation,
    strategy: Arc<dyn Strategy>,
    provider: Arc<dyn Provider>,
    record_at: OnceCell<SecretRef>,
    clock: Clock,
    me: Holder,
}

#[derive(Debug)]
struct Rotation {
    name: String,
    target: SecretRef,
    timing: RotationTiming,
    strategy: &'static str,
    names: Names,
    rules: Rules,
}

/// What somebody wants beside what the schedule says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// Rotate whatever the schedule says.
    pub now: bool,
    /// Give the old value no time: it is known to somebody whom it is not for.
    pub revoke_old: bool,
    /// Publish the value before the last rotation again.
    pub roll_back: bool,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// How a rotation stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it has been through.
    pub course: Course,
    /// When the value was last replaced, as far as that is known; none where there is no value.
    pub replaced_at: Option<Timestamp>,
    /// When a rotation is due; none where nothing but a request begins one.
    pub due_at: Option<Timestamp>,
    /// Who is at it.
    pub held_by: Option<String>,
}

/// What there was to be done.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How it stands now.
    pub standing: Standing,
    /// When there is more to be done; none where nothing but a request begins something.
    pub next_at: Option<Timestamp>,
    /// What was published, if anything was.
    pub published: Option<Revision>,
    /// Whether somebody else is at it.
    pub is_busy: bool,
}

/// The record as it was read last, and what the store calls that state.
struct Open {
    record: Record,
    revision: Revision,
}

impl Rotator {
    /// Builds what `config` describes; asks no server.
    ///
    /// # Errors
    /// A target that cannot be written to, or a strategy that cannot be built.
    pub fn build(config: RotationConfig, client: &Client, clock: &Clock) -> Result<Self> {
        let named = |error: Error| named(error, &config.target).with("rotation", &config.name);
        let provider = Arc::clone(client.provider(&config.target)?);
        store_of(&provider).and_then(|store| store.validate(&config.target)).map_err(named)?;
        let context = StrategyContext { client: client.clone(), clock: clock.clone() };
        let strategy = config.plan.build(context).map_err(named)?;
        let rules = Rules { overlap: config.overlap, is_gapless: strategy.is_gapless() };
        let RotationConfig { name, target, timing, strategy: kind, names, .. } = config;
        let rotation = Rotation { name, target, timing, strategy: kind, names, rules };
        let (record_at, me) = (OnceCell::new(), Holder::of_process());
        Ok(Self { rotation, strategy, provider, record_at, clock: clock.clone(), me })
    }

    /// Returns the rotation's name.
    pub fn name(&self) -> &str {
        &self.rotation.name
    }

    /// Returns the secret that is rotated.
    pub fn target(&self) -> &SecretRef {
        &self.rotation.target
    }

    /// Returns the strategy's name.
    pub fn strategy(&self) -> &'static str {
        self.rotation.strategy
    }

    /// Asks how the rotation stands, and changes nothing.
    ///
    /// # Errors
    /// The store does not answer, or refuses.
    pub async fn look(&self) -> Result<Standing> {
        let open = self.open().await?;
        self.standing(&open.record).await
    }

    /// Does everything that there is to be done now, and what `ask` wants.
    ///
    /// # Errors
    /// What failed first. What has to be done about it later is written down.
    ///
    /// # Cancel safety
    /// What was begun is gone on with by the next call, of whatever rotator.
    pub async fn advance(&self, ask: &Ask) -> Result<Progress> {
        let advanced = self.advance_to_rest(ask).await;
        advanced.map_err(|error| named(error, &self.rotation.target).with("rotation", &self.rotation.name))
    }

    async fn advance_to_rest(&self, ask: &Ask) -> Result<Progress> {
        let mut open = self.open().await?;
        if let Some(busy) = self.busy(&open.record).await? {
            return Ok(busy);
        }
        let mut wants_new = self.take_in(ask, &mut open.record)?;
        let (begun_at, mut failed, mut published) = (self.clock.instant(), None, None);
        loop {
            let now = self.clock.now();
            let is_due = wants_new || self.is_due(&open.record, now).await?;
            let step = match open.record.course.next(now, is_due) {
                Step::Rest => break,
                Step::WaitUntil(at) => {
                    let waits = self.must_not_rest(&open.record.course)
                        && self.clock.instant() - begun_at < UNSAFE_WITHIN;
                    if !waits {
                        break;
                    }
                    self.clock.sleep_until_time(at).await;
                    continue;
                }
                step => step,
            };
            let is_held = open.record.hold.as_ref().is_some_and(|hold| hold.by == self.me);
            if step != Step::Create && !is_held {
                open.record.course.resume(self.rotation.rules);
                open.record.hold = Some(Hold::new(&self.me, now));
                self.save(&mut open).await?;
                continue;
            }
            let event = self.perform(step, ask, &mut open.record).await;
            self.audit(step, &event, ask, &open.record);
            match &event {
                Event::Failed(error) => drop(failed.get_or_insert_with(|| error.clone())),
                Event::Superseded => drop(failed.get_or_insert_with(superseded)),
                Event::Created(_) => wants_new = false,
                Event::Published(revision) => published = Some(revision.clone()),
                _ => {}
            }
            if step == Step::Create && matches!(event, Event::Failed(_)) {
                // Tried again when the record says so, whoever asked.
                wants_new = false;
            }
            let before = open.record.course.phase().clone();
            open.record.course.note(event, self.rotation.rules, self.clock.now());
            if let Err(error) = self.settle(&mut open).await {
                self.leave_working(&before, &open.record).await;
                return Err(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => self.progress(&open.record, published, false).await,
        }
    }

    /// Takes in what is asked for; tells whether a new value is wanted beside what is under way.
    fn take_in(&self, ask: &Ask, record: &mut Record) -> Result<bool> {
        if ask.roll_back {
            record.course.roll_back(self.rotation.rules)?;
        }
        if ask.now || ask.roll_back {
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
    fn must_not_rest(&self, course: &Course) -> bool {
        let is_between = matches!(
            course.phase(),
            Phase::Created(_) | Phase::Set(_) | Phase::Tested(_) | Phase::Undoing { .. }
        );
        is_between && !self.rotation.rules.is_gapless
    }

    async fn perform(&self, step: Step, ask: &Ask, record: &mut Record) -> Event {
        let done = tokio::time::timeout(STEP_WITHIN, self.do_step(step, ask, record)).await;
        let done = done.unwrap_or_else(|_| {
            let reason = format!("the step `{}` was not done within {STEP_WITHIN:?}", step.as_str());
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
        let is_emergency = attempt.is_emergency;
        let turn = Turn { token: &attempt.token, new, old: record.old.as_ref(), is_emergency };
        match step {
            Step::Set => self.strategy.set(turn).await.map(|()| Event::Set),
            Step::Test => self.strategy.test(turn).await.map(|()| Event::Tested),
            Step::Finish => self.finish(attempt, new).await,
            Step::Retire => self.retire(turn).await,
            Step::Revert => self.revert(attempt, turn).await,
            Step::Undo => self.undo(turn).await,
            Step::Create | Step::Rest | Step::WaitUntil(_) => Ok(Event::Undone),
        }
    }

    async fn create(&self, ask: &Ask, record: &mut Record) -> Result<Event> {
        let found = self.look_at_target().await?;
        let old = found.fields.as_ref().and_then(|fields| self.rotation.names.view(fields));
        let new = self.strategy.create(old.as_ref())?;
        let token = token();
        let turn = Turn { token: &token, new: &new, old: old.as_ref(), is_emergency: ask.revoke_old };
        self.strategy.check(turn).await?;
        (record.new, record.old) = (Some(new), old);
        let (begun_at, base) = (self.clock.now(), found.revision);
        Ok(Event::Created(Attempt { token, begun_at, base, is_emergency: ask.revoke_old }))
    }

    async fn finish(&self, attempt: &Attempt, new: &Fields) -> Result<Event> {
        let names = &self.rotation.names;
        let found = self.look_at_target().await?;
        if names.holds(found.fields.as_ref(), Some(new)) {
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
        if self.rotation.names.holds(found.fields.as_ref(), Some(turn.new)) {
            return Ok(Event::Published(found.revision));
        }
        self.strategy.undo(turn).await.map(|()| Event::Undone)
    }

    async fn publish(&self, fields: &Fields, expected: &Revision, token: &str) -> Result<Revision> {
        let (store, target) = (store_of(&self.provider)?, &self.rotation.target);
        RETRY.run(|| store.write(target, fields, expected, token)).await
    }

    async fn look_at_target(&self) -> Result<Document> {
        let store = store_of(&self.provider)?;
        RETRY.run(|| store.look(&self.rotation.target)).await
    }

    /// Takes back what was set where that could not be written down and what is published may not work.
    async fn leave_working(&self, before: &Phase, record: &Record) {
        let (Some(attempt), Some(new)) = (before.attempt(), &record.new) else { return };
        let is_set = matches!(record.course.phase(), Phase::Set(_) | Phase::Tested(_));
        if self.rotation.rules.is_gapless || !is_set {
            return;
        }
        let turn = Turn { token: &attempt.token, new, old: record.old.as_ref(), is_emergency: false };
        if let Err(error) = self.strategy.undo(turn).await {
            warn!(rotation = self.rotation.name, %error, "what was set could not be taken back");
        }
    }
}

// The record.
impl Rotator {
    async fn open(&self) -> Result<Open> {
        let (store, place) = (store_of(&self.provider)?, self.record_at().await?);
        let Document { fields, revision, .. } = RETRY.run(|| store.look(place)).await?;
        let record = match fields {
            Some(fields) => Record::parse(fields).map_err(|error| error.with("record", place))?,
            None => Record::first(self.clock.now()),
        };
        Ok(Open { record, revision })
    }

    async fn record_at(&self) -> Result<&SecretRef> {
        let find = || async {
            let store = store_of(&self.provider)?;
            RETRY.run(|| store.record_of(&self.rotation.target)).await
        };
        self.record_at.get_or_try_init(find).await
    }

    /// Writes the record down after a step: held while there is more to do, and without the values when they are not needed any more.
    async fn settle(&self, open: &mut Open) -> Result<()> {
        let now = self.clock.now();
        let rests = matches!(open.record.course.next(now, false), Step::Rest | Step::WaitUntil(_));
        let goes_on = !rests || self.must_not_rest(&open.record.course);
        open.record.hold = goes_on.then(|| Hold::new(&self.me, now));
        if matches!(open.record.course.phase(), Phase::Idle) {
            (open.record.new, open.record.old) = (None, None);
        }
        self.save(open).await
    }

    async fn save(&self, open: &mut Open) -> Result<()> {
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

    async fn replaced_at(&self, record: &Record) -> Result<Option<Timestamp>> {
        if let Some(last) = record.course.last() {
            return Ok(Some(last.at));
        }
        let found = self.look_at_target().await?;
        Ok(found.fields.is_some().then(|| found.written_at.unwrap_or(record.seen_at)))
    }

    async fn standing(&self, record: &Record) -> Result<Standing> {
        let now = self.clock.now();
        let replaced_at = self.replaced_at(record).await?;
        let due_at = match self.rotation.timing.next(&self.rotation.name, replaced_at, now) {
            Due::Now(_) => Some(now),
            Due::At(at, _) => Some(at),
            Due::Never => None,
        };
        let hold = record.hold.as_ref().filter(|hold| hold.keeps_away(&self.me, now));
        let held_by = hold.map(|hold| format!("process {} on {}", hold.by.pid, hold.by.host));
        Ok(Standing { course: record.course.clone(), replaced_at, due_at, held_by })
    }

    async fn busy(&self, record: &Record) -> Result<Option<Progress>> {
        let now = self.clock.now();
        match record.hold.as_ref().filter(|hold| hold.keeps_away(&self.me, now)) {
            Some(_) => self.progress(record, None, true).await.map(Some),
            None => Ok(None),
        }
    }

    async fn progress(
        &self,
        record: &Record,
        published: Option<Revision>,
        is_busy: bool,
    ) -> Result<Progress> {
        let (standing, now) = (self.standing(record).await?, self.clock.now());
        let next_at = match record.course.next(now, true) {
            _ if is_busy => record.hold.as_ref().map(|hold| hold.until),
            Step::WaitUntil(at) if matches!(record.course.phase(), Phase::Idle) => {
                standing.due_at.map(|due| due.max(at))
            }
            Step::WaitUntil(at) => Some(at),
            _ if matches!(record.course.phase(), Phase::Idle) => standing.due_at,
            _ => Some(now),
        };
        Ok(Progress { standing, next_at, published, is_busy })
    }

    /// Says who did what to which secret, and what came of it.
    fn audit(&self, step: Step, event: &Event, ask: &Ask, record: &Record) {
        let Rotation { name, target, strategy, .. } = &self.rotation;
        let attempt = match event {
            Event::Created(attempt) => Some(attempt),
            _ => record.course.phase().attempt(),
        };
        let token = attempt.map_or("", |attempt| attempt.token.as_str());
        let (step, by) = (step.as_str(), format_args!("{}/{}", self.me.host, self.me.pid));
        let reason = ask.reason.as_deref().unwrap_or(if ask.now { "asked for" } else { "due" });
        let version = match event {
            Event::Published(revision) => revision.as_str(),
            _ => "",
        };
        let outcome = match event {
            Event::Failed(_) => "failed",
            Event::Superseded => "superseded",
            _ => "done",
        };
        match event {
            Event::Failed(error) => {
                warn!(target: AUDIT, rotation = name, %target, strategy, step, outcome, token, %by, reason, %error, "rotation");
            }
            _ => {
                info!(target: AUDIT, rotation = name, %target, strategy, step, outcome, token, version, %by, reason, "rotation");
            }
        }
    }
}

fn store_of(provider: &Arc<dyn Provider>) -> Result<&dyn Store> {
    provider.store().ok_or_else(|| {
        Error::new(ErrorKind::Config, "rotate", "nothing can be published there: the provider only reads")
    })
}

fn superseded() -> Error {
    let reason = "somebody else changed the target meanwhile; what was made is taken back";
    Error::new(ErrorKind::Conflict, "rotate", reason)
}

fn token() -> String {
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

const AUDIT: &str = "keywheel::audit";
const RETRY: RetryPolicy =
    RetryPolicy { retries: 3, first: Duration::from_millis(250), longest: Duration::from_secs(2) };
/// Shorter than a hold, so that nobody else begins the step before it has ended.
const STEP_WITHIN: Duration = Duration::from_secs(45);
/// For how long one call tries to get a credential to work again.
const UNSAFE_WITHIN: Duration = Duration::from_secs(60);
