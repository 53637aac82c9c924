//! Performs the steps of a [`Keeper`] and notes what comes of them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{Keeper, schedule};
use crate::audit;
use crate::client::named;
use crate::clock::{later, until};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Lease, Parent, Term};
use crate::provider::Leases;
use crate::schedule::{Failure, Step};
use crate::secret::{Secret, Upkeep};
use crate::trace;

/// What came of a step that did not fail.
#[derive(Debug)]
enum Outcome {
    /// The source has this value now.
    Value(Secret),
    /// The value is the same.
    Same,
    /// The lease stands like this.
    Stands(Term),
    /// The lease has ended.
    Lost,
}

impl Keeper {
    /// Performs `step` once, and notes and publishes what came of it.
    pub(super) async fn perform(&mut self, step: Step) {
        let began = self.source.clock.instant();
        let span = trace::fetch(step.as_str(), &self.shared.reference);
        let attempt = trace::within(span, self.attempt(step)).await;
        match step {
            Step::Ask | Step::Replace => {
                self.source.meter.note_read(self.source.clock.instant() - began, &attempt)
            }
            Step::LookUp | Step::Renew => self.source.meter.note(&attempt),
        }
        let now = self.source.clock.now();
        (self.tending.asked_at, self.tending.refresh_at) = (now, self.refresh_at());
        self.tending.unit = fastrand::f64();
        let before = self.shared.look(|kept| kept.failures);
        match attempt {
            Ok(outcome) => {
                if before > 0 && !matches!(outcome, Outcome::Lost) {
                    info!(reference = %self.shared.reference, failures = before, "the secret can be read again");
                }
                self.tending.retry_at = None;
                self.shared.modify(|kept| (kept.error, kept.failures) = (None, 0));
                self.note(outcome).await;
                if before > 0 {
                    self.wake();
                }
            }
            Err(error) => {
                if matches!(step, Step::Ask | Step::Replace) {
                    audit::read(&self.shared.reference, Err(&error));
                }
                let error = named(error, &self.shared.reference);
                let failures = before.saturating_add(1);
                let wait = self.wait_after(&error, failures, now);
                self.tending.retry_at = Some(later(now, wait));
                self.report(step, &error, failures, wait);
                let is_refused = error.kind() == ErrorKind::PermissionDenied;
                self.shared.modify(|kept| (kept.error, kept.failures) = (Some(error), failures));
                if is_refused {
                    self.wake();
                }
            }
        }
    }

    async fn attempt(&mut self, step: Step) -> Result<Outcome> {
        let known = self.shared.look(|kept| kept.secret.clone());
        let lease = self.lease();
        match (step, known, lease, self.source.provider.leases()) {
            (Step::Ask, Some(known), ..) => {
                let changed =
                    self.source.provider.read_if_changed(&self.shared.reference, known.version()).await?;
                Ok(changed.map_or(Outcome::Same, Outcome::Value))
            }
            (Step::LookUp, Some(_), Some(lease), Some(leases)) => match leases.look_up(&lease).await {
                Ok(term) => Ok(Outcome::Stands(term)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::Lost),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    debug!(reference = %self.shared.reference, %error, "the source does not tell how the lease stands");
                    self.tending.can_look_up = false;
                    Ok(Outcome::Same)
                }
                Err(error) => Err(error),
            },
            (Step::Renew, Some(_), Some(lease), Some(leases)) => match leases.renew(&lease).await {
                Ok(term) => Ok(Outcome::Stands(term)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::Lost),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    Ok(Outcome::Stands(lease.term.not_renewable()))
                }
                Err(error) => Err(error),
            },
            _ => self.source.provider.read(&self.shared.reference).await.map(Outcome::Value),
        }
    }

    async fn note(&mut self, outcome: Outcome) {
        let now = self.source.clock.now();
        match outcome {
            // Boxed: most steps find the same value, and a thousand of them may be under way.
            Outcome::Value(secret) => Box::pin(self.take(secret)).await,
            Outcome::Stands(term) => Box::pin(self.take_term(term)).await,
            Outcome::Lost => {
                warn!(reference = %self.shared.reference, "the lease has ended before its time; a new value is asked for");
                self.tending.is_lost = true;
                self.shared.modify(|kept| kept.deadline = Some(now));
                return;
            }
            Outcome::Same => {}
        }
        self.shared.modify(|kept| kept.confirmed_at = Some(now));
        if self.tending.parent.is_none() {
            self.claim();
            self.tending.is_lost = self.has_no_parent();
        }
    }

    /// Has the provider know which leases depend on its logins, those that are going included.
    fn claim(&mut self) {
        self.tending.parent = self.find_parent();
        if let Some(leases) = self.source.provider.leases() {
            self.tending.outgoing.leases().iter().for_each(|lease| drop(leases.parent(lease)));
        }
    }

    /// Takes a new value over. It is remembered before anybody sees it: a value that somebody uses has never been forgotten.
    async fn take(&mut self, secret: Secret) {
        if let Some(old) = self.lease().filter(|_| !self.tending.is_lost) {
            self.tending.outgoing.add(self.shared.look(|kept| kept.revision), old);
        }
        self.remember(&secret, &secret.upkeep, &self.tending.outgoing.leases()).await;
        (self.tending.is_lost, self.tending.parent) = (false, None);
        self.tending.can_look_up = self.source.provider.leases().is_some();
        audit::read(&self.shared.reference, Ok(secret.version()));
        self.publish(secret, self.source.clock.now());
    }

    async fn take_term(&mut self, term: Term) {
        let Some((secret, Upkeep::Lease(lease))) = self.current() else { return };
        let known = |term: &Term| (term.ends_at(), term.renewable, term.is_short);
        if known(&term) == known(&lease.term) {
            return;
        }
        self.tending.can_look_up = true;
        let upkeep = Upkeep::Lease(Box::new(Lease { term, ..*lease }));
        self.remember(&secret, &upkeep, &self.tending.outgoing.leases()).await;
        self.shared.modify(|kept| kept.upkeep = Some(upkeep));
    }

    /// Hands a value out.
    pub(super) fn publish(&self, secret: Secret, now: Timestamp) {
        self.shared.modify(|kept| {
            kept.replaced_ends_at = kept.deadline;
            kept.upkeep = Some(secret.upkeep.clone());
            kept.deadline = secret.upkeep.deadline(None);
            kept.secret = Some(Arc::new(secret));
            kept.revision += 1;
            kept.confirmed_at = Some(now);
        });
        self.wake();
    }

    /// Has everybody look who uses the secret.
    fn wake(&self) {
        self.told.iter().for_each(|wake| wake.notify_one());
    }

    /// Publishes when the value ends, now that the login's token behind it may have been renewed.
    pub(super) fn note_parent(&self) {
        if self.tending.is_lost {
            return;
        }
        let parent = self.tending.parent.as_ref().map(|parent| *parent.borrow());
        self.shared.modify_if(|kept| {
            let deadline = kept.upkeep.as_ref().and_then(|upkeep| upkeep.deadline(parent));
            let modified = kept.deadline != deadline;
            kept.deadline = deadline;
            modified
        });
    }

    /// Extends the leases of replaced values that somebody relies on, and ends those that nobody does any more.
    pub(super) async fn tend_outgoing(&mut self) {
        let provider = Arc::clone(&self.source.provider);
        let Some(leases) = provider.leases() else { return };
        let mut changed = self.extend_outgoing(leases).await;
        while let Some(lease) = self.releasable() {
            match leases.revoke(&lease).await {
                Ok(()) => {
                    debug!(reference = %self.shared.reference, "gave the lease of a replaced value back")
                }
                Err(error) if error.is_temporary() => {
                    self.put_off(&error);
                    continue;
                }
                Err(error) => {
                    info!(reference = %self.shared.reference, %error, "the lease of a replaced value stays until it ends by itself")
                }
            }
            self.tending.outgoing.ended(&lease);
            changed = true;
        }
        if changed && let Some((secret, upkeep)) = self.current() {
            self.remember(&secret, &upkeep, &self.tending.outgoing.leases()).await;
        }
    }

    /// Extends what is due; tells whether that changed anything.
    async fn extend_outgoing(&mut self, leases: &dyn Leases) -> bool {
        let mut changed = false;
        while let Some(lease) = self.renewable() {
            match leases.renew(&lease).await {
                Ok(term) => {
                    let revision = self.tending.outgoing.renewed(&lease.id, term);
                    self.shared.modify(|kept| {
                        if revision.is_some_and(|revision| revision + 1 == kept.revision) {
                            kept.replaced_ends_at = term.ends_at();
                        }
                    });
                }
                Err(error) if error.is_temporary() => {
                    self.put_off(&error);
                    return changed;
                }
                Err(error) => {
                    info!(reference = %self.shared.reference, %error, "the lease of a replaced value that is still used is not extended");
                    self.tending.outgoing.renewed(&lease.id, lease.term.not_renewable());
                }
            }
            changed = true;
        }
        changed
    }

    fn releasable(&mut self) -> Option<Lease> {
        let (outgoing, now) = (&mut self.tending.outgoing, self.source.clock.now());
        self.shared.holders(|holders| outgoing.releasable(holders, now))
    }

    fn renewable(&self) -> Option<Lease> {
        let now = self.source.clock.now();
        self.shared.holders(|holders| self.tending.outgoing.renewable(holders, now))
    }

    /// Has the next attempt at a lease of a replaced value wait.
    fn put_off(&mut self, error: &Error) {
        let count = self.tending.outgoing.failures() + 1;
        let failure = Failure { temporary: true, count, retry_after: error.retry_after() };
        let wait = schedule::after_failure(failure, self.pace.after_failure(), fastrand::f64());
        self.tending.outgoing.failed(later(self.source.clock.now(), wait));
    }

    fn current(&self) -> Option<(Arc<Secret>, Upkeep)> {
        self.shared.look(|kept| kept.secret.clone().zip(kept.upkeep.clone()))
    }

    /// Returns the lease of the newest value.
    pub(super) fn lease(&self) -> Option<Lease> {
        self.shared.look(|kept| kept.upkeep.as_ref().and_then(Upkeep::lease).cloned())
    }

    /// Sees the life of the login that the value's lease hangs on.
    fn find_parent(&self) -> Option<watch::Receiver<Parent>> {
        self.source.provider.leases()?.parent(&self.lease()?)
    }

    /// Tells whether the value has a lease, and its provider does not know the login behind it.
    fn has_no_parent(&self) -> bool {
        self.lease().is_some() && self.tending.parent.is_none()
    }

    /// Returns how long to wait after a failure. Near the end of a lease it is no more than a quarter of what is left, unless the source wants to
    /// be left alone, or only an edit helps.
    fn wait_after(&self, error: &Error, failures: u32, now: Timestamp) -> Duration {
        let failure =
            Failure { temporary: error.is_temporary(), count: failures, retry_after: error.retry_after() };
        let wait = schedule::after_failure(failure, self.pace.after_failure(), fastrand::f64());
        let left = self.shared.look(|kept| kept.deadline).map(|deadline| until(now, deadline));
        match left {
            Some(left) if !left.is_zero() && error.is_temporary() => {
                wait.min((left / 4).max(QUICKEST_RETRY)).max(error.retry_after().unwrap_or_default())
            }
            _ => wait,
        }
    }

    /// Says when a source begins to fail; after that once for each doubling.
    fn report(&self, step: Step, error: &Error, failures: u32, wait: Duration) {
        if !failures.is_power_of_two() {
            return;
        }
        let reference = &self.shared.reference;
        let stands = match self.shared.look(|kept| kept.secret.is_some()) {
            true => "the last good value stays",
            false => "there is no value yet",
        };
        let trouble = match step {
            Step::Ask => "cannot read the secret",
            Step::LookUp => "cannot see how the lease stands",
            Step::Renew => "cannot renew the lease",
            Step::Replace => "cannot replace the value",
        };
        warn!(%reference, %error, failures, retry_in = ?wait, "{trouble}; {stands}");
    }
}

/// The shortest wait between two attempts of which the first failed.
const QUICKEST_RETRY: Duration = Duration::from_millis(500);
