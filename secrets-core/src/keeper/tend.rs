//! Performs the steps of a [`Keeper`] and notes what comes of them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::{Keeper, Tending, named, schedule};
use crate::audit;
use crate::clock::{later, until};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Lease, Term};
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
    pub(super) async fn perform(&mut self, step: Step, tending: &mut Tending) {
        let began = self.clock.instant();
        let span = trace::fetch(step.as_str(), &self.reference);
        let attempt = trace::within(span, self.attempt(step, tending)).await;
        match step {
            Step::Ask | Step::Replace => self.meter.note_read(self.clock.instant() - began, &attempt),
            Step::LookUp | Step::Renew => self.meter.note(&attempt),
        }
        let now = self.clock.now();
        (tending.asked_at, tending.refresh_at) = (now, self.refresh_at());
        tending.unit = fastrand::f64();
        let before = self.state.borrow().failures;
        match attempt {
            Ok(outcome) => {
                if before > 0 && !matches!(outcome, Outcome::Lost) {
                    info!(reference = %self.reference, failures = before, "the secret can be read again");
                }
                tending.retry_at = None;
                self.state.send_modify(|kept| (kept.error, kept.failures) = (None, 0));
                self.note(outcome, tending).await;
                if before > 0 {
                    self.wake();
                }
            }
            Err(error) => {
                if matches!(step, Step::Ask | Step::Replace) {
                    audit::read(&self.reference, Err(&error));
                }
                let error = named(error, &self.reference);
                let failures = before.saturating_add(1);
                let wait = self.wait_after(&error, failures, now);
                tending.retry_at = Some(later(now, wait));
                self.report(step, &error, failures, wait);
                let is_refused = error.kind() == ErrorKind::PermissionDenied;
                self.state.send_modify(|kept| (kept.error, kept.failures) = (Some(error), failures));
                if is_refused {
                    self.wake();
                }
            }
        }
    }

    async fn attempt(&self, step: Step, tending: &mut Tending) -> Result<Outcome> {
        let (known, lease) = {
            let kept = self.state.borrow();
            let lease = kept.upkeep.as_ref().and_then(Upkeep::lease).cloned();
            (kept.secret.clone(), lease)
        };
        match (step, known, lease, self.provider.leases()) {
            (Step::Ask, Some(known), ..) => {
                let changed = self.provider.read_if_changed(&self.reference, known.version()).await?;
                Ok(changed.map_or(Outcome::Same, Outcome::Value))
            }
            (Step::LookUp, Some(_), Some(lease), Some(leases)) => match leases.look_up(&lease).await {
                Ok(term) => Ok(Outcome::Stands(term)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::Lost),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    debug!(reference = %self.reference, %error, "the source does not tell how the lease stands");
                    tending.can_look_up = false;
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
            _ => self.provider.read(&self.reference).await.map(Outcome::Value),
        }
    }

    async fn note(&mut self, outcome: Outcome, tending: &mut Tending) {
        let now = self.clock.now();
        match outcome {
            Outcome::Value(secret) => self.take(secret, tending).await,
            Outcome::Stands(term) => self.take_term(term, tending).await,
            Outcome::Lost => {
                warn!(reference = %self.reference, "the lease has ended before its time; a new value is asked for");
                tending.is_lost = true;
                self.state.send_modify(|kept| kept.deadline = Some(now));
                return;
            }
            Outcome::Same => {}
        }
        self.state.send_modify(|kept| kept.confirmed_at = Some(now));
        if tending.parent.is_none() {
            self.claim(tending);
            tending.is_lost = self.has_no_parent(tending);
        }
    }

    /// Has the provider know which leases depend on its logins, those that are going included.
    fn claim(&self, tending: &mut Tending) {
        tending.parent = self.parent();
        if let Some(leases) = self.provider.leases() {
            tending.outgoing.leases().iter().for_each(|lease| drop(leases.parent(lease)));
        }
    }

    /// Takes a new value over. It is remembered before anybody sees it: a value that somebody uses has never been forgotten.
    async fn take(&mut self, secret: Secret, tending: &mut Tending) {
        let (old, revision) = {
            let kept = self.state.borrow();
            (kept.upkeep.as_ref().and_then(Upkeep::lease).cloned(), kept.revision)
        };
        if let Some(old) = old.filter(|_| !tending.is_lost) {
            tending.outgoing.add(revision, old);
        }
        self.remember(&secret, &secret.upkeep, &tending.outgoing.leases()).await;
        (tending.is_lost, tending.parent) = (false, None);
        tending.can_look_up = self.provider.leases().is_some();
        audit::read(&self.reference, Ok(secret.version()));
        self.publish(secret, self.clock.now());
    }

    async fn take_term(&mut self, term: Term, tending: &mut Tending) {
        let Some((secret, Upkeep::Lease(lease))) = ({
            let kept = self.state.borrow();
            kept.secret.clone().zip(kept.upkeep.clone())
        }) else {
            return;
        };
        let known = |term: &Term| (term.ends_at(), term.renewable, term.is_short);
        if known(&term) == known(&lease.term) {
            return;
        }
        tending.can_look_up = true;
        let upkeep = Upkeep::Lease(Lease { term, ..lease });
        self.remember(&secret, &upkeep, &tending.outgoing.leases()).await;
        self.state.send_modify(|kept| kept.upkeep = Some(upkeep));
    }

    /// Hands a value out.
    pub(super) fn publish(&self, secret: Secret, now: Timestamp) {
        self.state.send_modify(|kept| {
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
    pub(super) fn note_parent(&self, tending: &Tending) {
        if tending.is_lost {
            return;
        }
        let parent = tending.parent.as_ref().map(|parent| *parent.borrow());
        self.state.send_if_modified(|kept| {
            let deadline = kept.upkeep.as_ref().and_then(|upkeep| upkeep.deadline(parent));
            let modified = kept.deadline != deadline;
            kept.deadline = deadline;
            modified
        });
    }

    /// Extends the leases of replaced values that somebody relies on, and ends those that nobody does any more.
    pub(super) async fn tend_outgoing(&self, tending: &mut Tending) {
        let Some(leases) = self.provider.leases() else { return };
        let mut changed = self.extend_outgoing(leases, tending).await;
        while let Some(lease) = tending.outgoing.releasable(&self.holders, self.clock.now()) {
            match leases.revoke(&lease).await {
                Ok(()) => debug!(reference = %self.reference, "gave the lease of a replaced value back"),
                Err(error) if error.is_temporary() => {
                    self.put_off(&error, tending);
                    continue;
                }
                Err(error) => {
                    info!(reference = %self.reference, %error, "the lease of a replaced value stays until it ends by itself")
                }
            }
            tending.outgoing.ended(&lease);
            changed = true;
        }
        if changed && let Some((secret, upkeep)) = self.current() {
            self.remember(&secret, &upkeep, &tending.outgoing.leases()).await;
        }
    }

    /// Extends what is due; tells whether that changed anything.
    async fn extend_outgoing(&self, leases: &dyn Leases, tending: &mut Tending) -> bool {
        let mut changed = false;
        while let Some(lease) = tending.outgoing.renewable(&self.holders, self.clock.now()) {
            match leases.renew(&lease).await {
                Ok(term) => {
                    let revision = tending.outgoing.renewed(&lease.id, term);
                    self.state.send_modify(|kept| {
                        if revision.is_some_and(|revision| revision + 1 == kept.revision) {
                            kept.replaced_ends_at = term.ends_at();
                        }
                    });
                }
                Err(error) if error.is_temporary() => {
                    self.put_off(&error, tending);
                    return changed;
                }
                Err(error) => {
                    info!(reference = %self.reference, %error, "the lease of a replaced value that is still used is not extended");
                    tending.outgoing.renewed(&lease.id, lease.term.not_renewable());
                }
            }
            changed = true;
        }
        changed
    }

    /// Has the next attempt at a lease of a replaced value wait.
    fn put_off(&self, error: &Error, tending: &mut Tending) {
        let count = tending.outgoing.failed();
        let failure = Failure { temporary: true, count, retry_after: error.retry_after() };
        let wait = schedule::after_failure(failure, self.pace.after_failure(), fastrand::f64());
        tending.outgoing.retry_at(later(self.clock.now(), wait));
    }

    fn current(&self) -> Option<(Arc<Secret>, Upkeep)> {
        let kept = self.state.borrow();
        kept.secret.clone().zip(kept.upkeep.clone())
    }

    fn parent(&self) -> Option<tokio::sync::watch::Receiver<crate::lease::Parent>> {
        let kept = self.state.borrow();
        self.provider.leases()?.parent(kept.upkeep.as_ref()?.lease()?)
    }

    /// Tells whether the value has a lease, and its provider does not know the login behind it.
    fn has_no_parent(&self, tending: &Tending) -> bool {
        let leased = self.state.borrow().upkeep.as_ref().and_then(Upkeep::lease).is_some();
        leased && tending.parent.is_none()
    }

    /// Returns how long to wait after a failure. Near the end of a lease it is no more than a quarter of what is left, unless the source wants to
    /// be left alone, or only an edit helps.
    fn wait_after(&self, error: &Error, failures: u32, now: Timestamp) -> Duration {
        let failure =
            Failure { temporary: error.is_temporary(), count: failures, retry_after: error.retry_after() };
        let wait = schedule::after_failure(failure, self.pace.after_failure(), fastrand::f64());
        let left = self.state.borrow().deadline.map(|deadline| until(now, deadline));
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
        let reference = &self.reference;
        let stands = match self.state.borrow().secret {
            Some(_) => "the last good value stays",
            None => "there is no value yet",
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
