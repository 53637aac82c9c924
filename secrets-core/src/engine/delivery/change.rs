//! The steps of a delivery's transaction, performed.

use smol_str::SmolStr;
use tracing::{Span, debug, error, info, warn};

use super::content::Content;
use super::values::{Newest, Secrets};
use super::{Delivery, Input};
use crate::audit;
use crate::clock::later;
use crate::config::OnForbidden;
use crate::deliver::{SourceInfo, Sources, Staged};
use crate::error::{Error, ErrorKind, Result};
use crate::notify::{self, Notifier};
use crate::payload::Payload;
use crate::trace;
use crate::transaction::{Event, Outcome, Step, Versions};

impl Delivery {
    /// Performs a step, and notes when to try again what failed.
    pub(super) async fn perform(&mut self, step: Step) {
        // Why it went back stays to be seen until there is something better.
        let goes_back = self.journal.transaction().goes_back();
        let span = self.span(step);
        let performed = trace::within(span, self.do_step(step)).await;
        if let (Err(error), Some(change)) = (&performed, &self.effort.change) {
            trace::failed(change, error);
        }
        if self.journal.transaction().is_idle() {
            self.effort.change = None;
        }
        match performed {
            Ok(()) if step == Step::Probe => {}
            Ok(()) if goes_back => (self.effort.failures, self.effort.retry_at) = (0, None),
            Ok(()) => self.succeeded(),
            Err(error) => self.failed(error),
        }
    }

    async fn do_step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Rest | Step::WaitUntil(_) => {}
            Step::Prepare => {
                if let Some(newest) = self.values.newer() {
                    self.prepare(newest, true).await?;
                }
            }
            Step::Tell(index) => self.tell(index).await?,
            Step::Probe => self.probe().await,
            Step::Revert => self.revert().await?,
        }
        Ok(())
    }

    /// Returns the span of a step, in that of the change that it is one of.
    pub(super) fn span(&mut self, step: Step) -> Span {
        let name = match step {
            Step::Rest | Step::WaitUntil(_) => return Span::none(),
            Step::Prepare => {
                self.effort.change = Some(trace::change(self.name()));
                "prepare"
            }
            Step::Tell(_) => "tell",
            Step::Probe => "probe",
            Step::Revert => "revert",
        };
        trace::step(self.effort.change.as_ref(), name, self.name())
    }

    /// Makes the files of the newest values visible, if they can be right; an application proves that it works with them where `verify`.
    pub(super) async fn prepare(&mut self, newest: Newest, verify: bool) -> Result<()> {
        let payload = match self.valid_payload(&newest.secrets) {
            Ok(payload) => payload,
            Err(error) => return Err(self.not_valid(newest, error).await),
        };
        if self.journal.has_rejected(&payload) {
            return Err(self.not_valid(newest, rejected_before()).await);
        }
        let content = Content::of(&payload);
        let sources = self.sources(&newest.secrets);
        let staged = self.target.stage(payload, sources).await.map_err(|error| self.here(error))?;
        let Some((staged, path)) = staged else {
            self.unchanged(&newest).await;
            return Ok(());
        };
        let event = notify::Event { directory: path, ..self.event(staged.generation()) };
        for validator in self.config.change.validate.iter().filter(|validator| validator.looks_at_files()) {
            let Err(error) = validator.run(&event).await else { continue };
            self.target.discard(staged).await?;
            return Err(match error.is_temporary() {
                true => self.here(error),
                false => self.not_valid(newest, error).await,
            });
        }
        self.publish(staged, content, newest.versions.clone(), verify).await?;
        info!(
            delivery = self.name(),
            generation = self.state.borrow().generation,
            secrets = shown(&newest.versions),
            "delivered"
        );
        self.audit(&newest.versions, "done");
        self.values.take(&newest.revisions);
        self.values.show(newest.revisions, &newest.versions);
        let outcome = self.note(Event::Published).await;
        self.conclude(outcome).await;
        Ok(())
    }

    fn valid_payload(&self, secrets: &Secrets) -> Result<Payload> {
        let payload = self.render(secrets)?;
        let now = self.clock.now();
        for validator in &self.config.change.validate {
            validator.check(&payload, now).map_err(|error| self.here(error))?;
        }
        Ok(payload)
    }

    /// Notes that these values are not to be tried again.
    async fn not_valid(&mut self, newest: Newest, error: Error) -> Error {
        audit::delivery(self.name(), "", &shown(&newest.versions), "rejected");
        self.note(Event::NotValid(newest.versions)).await;
        self.here(error)
    }

    /// Notes that the newest values make the files that are there already.
    async fn unchanged(&mut self, newest: &Newest) {
        self.values.take(&newest.revisions);
        self.values.show(newest.revisions.clone(), &newest.versions);
        if let Some(base) = self.journal.transaction().base().map(str::to_owned) {
            self.state.send_modify(|state| {
                if state.generation.is_none() {
                    (state.generation, state.delivered_at) = (Some(base), Some(self.clock.now()));
                }
            });
        }
        if self.journal.transaction().is_idle() {
            self.rely_on_visible();
            self.values.acknowledge();
        }
    }

    /// Makes what was staged visible.
    async fn publish(
        &mut self,
        staged: Staged,
        content: Content,
        versions: Versions,
        verify: bool,
    ) -> Result<()> {
        let generation = staged.generation().to_owned();
        let holds = verify && self.journal.verifies();
        let before = self.journal.begin(Some(content));
        self.note(Event::Publishing { generation: generation.clone(), versions, verify }).await;
        let published = self.target.publish(staged, holds).await;
        if let Err((error, is_visible)) = published {
            if !is_visible {
                self.journal.begin(before);
                self.note(Event::NotPublished).await;
                return Err(self.here(error));
            }
            debug!(delivery = self.name(), %error, "the visible links are made good with the next change");
        }
        let now = self.clock.now();
        self.state.send_modify(|state| {
            (state.generation, state.delivered_at) = (Some(generation), Some(now));
            state.is_withdrawn = false;
        });
        (self.effort.hurries, self.effort.seen, self.effort.good_looks) = (false, None, 0);
        Ok(())
    }

    /// Tells one notifier of what is visible.
    pub(super) async fn tell(&mut self, index: usize) -> Result<()> {
        let generation = self.state.borrow().generation.clone().unwrap_or_default();
        let Some(told) = self.config.change.on_change.get(index).cloned() else {
            let outcome = self.note(Event::Told).await;
            self.conclude(outcome).await;
            return Ok(());
        };
        let notifier = &told.notifier;
        let told_of = self.notify(notifier, &generation).await;
        audit::notify(self.name(), &generation, &notifier.to_string(), told_of.as_ref().map(drop));
        match told_of {
            Ok(report) => info!(delivery = self.name(), notifier = %notifier, %report, "told"),
            Err(error) => {
                let error = self.here(error);
                // Whoever starts with the first generation cannot answer before it is there.
                let is_owed = told.required && !self.may_be_early(notifier);
                self.state.send_modify(|state| state.is_untold |= is_owed);
                let outcome = self.note(Event::NotTold).await;
                self.lament(outcome, &error);
                return Err(error);
            }
        }
        self.state.send_modify(|state| state.is_untold = false);
        let outcome = self.note(Event::Told).await;
        self.conclude(outcome).await;
        Ok(())
    }

    /// Tells one notifier, for whoever does not come back to try again.
    pub(super) async fn tell_once(&mut self, index: usize) -> Result<()> {
        let told = self.tell(index).await;
        let Err(error) = told else { return Ok(()) };
        let notifier = self.config.change.on_change.get(index).map(|told| &told.notifier);
        if !notifier.is_some_and(|notifier| self.may_be_early(notifier)) {
            return Err(error);
        }
        warn!(delivery = self.name(), %error, "nobody is there yet to be told of the first generation");
        let outcome = self.note(Event::Told).await;
        self.conclude(outcome).await;
        Ok(())
    }

    /// Tells whether the application that is asked may be waiting for this very generation: a pod's containers start once it is there.
    fn may_be_early(&self, notifier: &Notifier) -> bool {
        matches!(notifier, Notifier::Http(_)) && self.journal.transaction().base().is_none()
    }

    /// Has `notifier` tell of what is visible. The first generation is news to nobody who is not there yet, and none to pods that begin with it.
    async fn notify(&mut self, notifier: &Notifier, generation: &str) -> Result<String> {
        let is_first = self.journal.transaction().base().is_none();
        let mut event = self.event(generation);
        if let Notifier::Rollout(_) = notifier {
            if is_first {
                return Ok("the pod begins with the first generation".into());
            }
            event.versions = self.target.versions().await?;
        }
        match notifier.notify(&event).await {
            Err(error) if is_first && matches!(notifier, Notifier::Signal(_)) && error.is_temporary() => {
                Ok(format!("nobody is there yet: {error}"))
            }
            told => told,
        }
    }

    /// Takes the files away: the source of one of their secrets refuses. Returns what is next.
    pub(super) async fn without_files(&mut self, refusal: Error) -> Step {
        let is_withdrawn = self.state.borrow().is_withdrawn;
        if !is_withdrawn && let Err(error) = self.withdraw(&refusal).await {
            self.failed(error);
        }
        match self.journal.next(crate::transaction::Situation {
            now: self.clock.now(),
            newer: None,
            hold_until: None,
            retry_at: self.effort.retry_at,
        }) {
            step @ (Step::Tell(_) | Step::WaitUntil(_)) => step,
            _ => self.effort.retry_at.map_or(Step::Rest, Step::WaitUntil),
        }
    }

    async fn withdraw(&mut self, refusal: &Error) -> Result<()> {
        let staged = self.target.stage(Payload::default(), Sources::new()).await?;
        if let Some((staged, _)) = staged {
            self.publish(staged, Content::of(&Payload::default()), Versions::new(), false).await?;
            self.values.withdraw();
            error!(delivery = self.name(), error = %refusal, on_forbidden = ?OnForbidden::Delete, "took the files away");
            self.audit(&Versions::new(), "withdrawn");
            let outcome = self.note(Event::Published).await;
            self.conclude(outcome).await;
        }
        self.target.forget_replaced().await?;
        self.values.take_back();
        self.succeeded();
        self.state.send_modify(|state| {
            state.is_withdrawn = true;
            state.error = Some(self.here(refusal.clone()));
        });
        Ok(())
    }

    /// Writes down what became of the files that are visible.
    pub(super) fn audit(&self, versions: &Versions, outcome: &'static str) {
        let generation = self.state.borrow().generation.clone().unwrap_or_default();
        audit::delivery(self.name(), &generation, &shown(versions), outcome);
    }

    pub(super) async fn note(&mut self, event: Event) -> Option<Outcome> {
        let now = self.clock.now();
        let can_go_back = self.values.base_ends_at().is_none_or(|ends_at| ends_at > now);
        let was_verifying = self.journal.transaction().phase() == VERIFYING;
        let outcome = self.journal.note(event, now, can_go_back).await;
        if !was_verifying
            && self.journal.transaction().phase() == VERIFYING
            && let Some(probe) = &self.config.change.verify
        {
            (self.effort.good_looks, self.effort.retry_at) = (0, Some(later(now, probe.delay)));
        }
        self.show();
        outcome
    }

    /// Does what the end of a transaction asks for.
    pub(super) async fn conclude(&mut self, outcome: Option<Outcome>) {
        let Some(Outcome::Committed | Outcome::Unproven) = outcome else { return };
        if let Err(error) = self.target.commit().await {
            debug!(delivery = self.name(), %error, "the replaced generation stays until the next start");
        }
        self.rely_on_visible();
        if outcome == Some(Outcome::Committed) {
            self.values.acknowledge();
        }
    }

    /// Lets go of the values before those that are visible, once `overlap` has passed.
    fn rely_on_visible(&mut self) {
        self.values.commit();
        let until = self.clock.instant() + self.config.change.overlap();
        self.reliance.moves_to(self.values.visible.clone(), until);
    }

    pub(super) fn event(&self, generation: &str) -> notify::Event {
        let (delivery, directory) = (self.config.name.clone(), self.config.directory.clone());
        notify::Event { delivery, directory, generation: generation.to_owned(), versions: Versions::new() }
    }

    fn sources(&self, secrets: &Secrets) -> Sources {
        let source = |(name, input): (&SmolStr, &Input)| {
            let secret = secrets.get(name)?;
            let info = SourceInfo {
                reference: input.config.reference.to_string(),
                version: secret.version().clone(),
                lease_deadline: secret.upkeep.deadline(None),
            };
            Some((name.to_string(), info))
        };
        self.values.inputs.iter().filter_map(source).collect()
    }
}

/// Says that an earlier process has tried these values.
fn rejected_before() -> Error {
    let reason =
        "the application did not work with these values before the last start; they are not tried again";
    Error::new(ErrorKind::Rejected, "verify", reason)
        .with_help("change them, or have them tried with `keywheel refresh`")
}

const VERIFYING: &str = "verifying";

fn shown(versions: &Versions) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> =
        versions.iter().take(SHOWN).map(|(name, version)| format!("{name}@{version}")).collect();
    if versions.len() > SHOWN {
        shown.push(format!("and {} more", versions.len() - SHOWN));
    }
    shown.join(" ")
}
