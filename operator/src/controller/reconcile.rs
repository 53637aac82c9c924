//! Looks at one schedule: has the engine do what is to be done, tells its owner, and says when to look again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keywheel_core::Clock;
use keywheel_core::clock::until;
use keywheel_core::identity::TokenIssuer;
use keywheel_providers::kubernetes::{AccountTokens, TokenRequest};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::board::Board;
use super::resource::{RotationSchedule, RotationScheduleStatus};
use super::status::{notes, status};
use super::turns::Turns;
use super::work::{Story, Work, path};
use super::{Settings, claim, events};

/// What a leader knows of the schedules that it keeps.
pub(super) struct Reconciler {
    pub(super) settings: Arc<Settings>,
    board: Board,
    clock: Clock,
    /// The resources as they were seen last.
    store: Option<Store<RotationSchedule>>,
    works: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Work>>>>,
    turns: Turns,
}

impl Reconciler {
    /// Knows nothing yet.
    pub(super) fn new(settings: &Arc<Settings>, board: &Board, clock: &Clock) -> Self {
        let (settings, board, clock) = (Arc::clone(settings), board.clone(), clock.clone());
        let turns = Turns::of(settings.concurrency);
        Self { settings, board, clock, store: None, works: Mutex::default(), turns }
    }

    /// Takes what is seen of the cluster.
    pub(super) fn of(self, store: Store<RotationSchedule>) -> Self {
        self.board.show(Some(store.clone()));
        Self { store: Some(store), ..self }
    }

    /// Returns the work of a schedule, read anew where it is another generation; those that are gone are forgotten.
    fn work(&self, schedule: &RotationSchedule) -> Arc<tokio::sync::Mutex<Work>> {
        self.forget();
        let uid = schedule.metadata.uid.clone().unwrap_or_default();
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        let mut story = Story::default();
        if let Some(known) = works.get(&uid) {
            // Nobody else is at it: one schedule is looked at by one task at a time.
            match known.try_lock() {
                Ok(work) if work.generation != schedule.metadata.generation => {
                    story = work.story.clone();
                }
                _ => return Arc::clone(known),
            }
        }
        let issuer = self.issuer(schedule);
        let mut work = Work::new(schedule, issuer, &self.settings.allowed, &self.clock);
        work.story = story;
        let work = Arc::new(tokio::sync::Mutex::new(work));
        works.insert(uid, Arc::clone(&work));
        work
    }

    /// Returns who issues tokens of the schedule's account, which is one of its own namespace.
    fn issuer(&self, schedule: &RotationSchedule) -> Arc<dyn TokenIssuer> {
        let namespace = schedule.metadata.namespace.as_deref().unwrap_or_default();
        let account = &schedule.spec.service_account_name;
        let Settings { client, audience, .. } = &*self.settings;
        let request = TokenRequest {
            service_account: account.clone(),
            namespace: Some(namespace.to_owned()),
            audience: audience.clone(),
            expiration: TokenRequest::SHORTEST,
        };
        Arc::new(AccountTokens::of(client.clone(), request))
    }

    /// Forgets the schedules that are gone.
    fn forget(&self) {
        let Some(store) = &self.store else { return };
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        if works.len() > store.len() {
            let there = store.state();
            works.retain(|uid, _| there.iter().any(|schedule| schedule.metadata.uid.as_ref() == Some(uid)));
        }
    }

    /// Does what is to be done for a schedule now, and sees how it stands.
    async fn look(&self, schedule: &RotationSchedule, work: &mut Work) {
        let holder = self.store.as_ref().and_then(|store| claim::holder(schedule, &store.state()));
        let outcome = work.look(holder, &self.clock).await;
        let before = work.story.seen.as_ref().or(schedule.status.as_ref()).cloned().unwrap_or_default();
        let after = status(schedule, &before, &outcome, self.clock.now());
        let published = u64::from(after.version != before.version && after.version.is_some());
        match work.measured(schedule, &outcome, published) {
            Some(look) => self.board.note(look),
            None => self.board.leave_out(&path(schedule)),
        }
        work.story.seen = Some(after);
    }

    /// Tells a schedule's owner what has changed since the last time; whether there is nothing left to tell.
    async fn tell(&self, schedule: &RotationSchedule, story: &mut Story) -> bool {
        let Some(seen) = story.seen.clone() else { return true };
        let before = story.told.as_ref().or(schedule.status.as_ref()).cloned().unwrap_or_default();
        let is_told = before == seen || self.write(schedule, &before, &seen).await;
        if is_told {
            story.told = Some(seen);
        }
        is_told
    }

    /// Writes the status, and makes Events of what is new in it; whether the status came through.
    async fn write(
        &self,
        schedule: &RotationSchedule,
        before: &RotationScheduleStatus,
        after: &RotationScheduleStatus,
    ) -> bool {
        let (name, namespace) = (&schedule.metadata.name, &schedule.metadata.namespace);
        let (name, namespace) =
            (name.as_deref().unwrap_or_default(), namespace.as_deref().unwrap_or_default());
        let api: Api<RotationSchedule> = Api::namespaced(self.settings.client.clone(), namespace);
        let patch = Patch::Merge(json!({"status": after}));
        let sender =
            PatchParams { field_manager: Some("keywheel-controller".into()), ..PatchParams::default() };
        match timeout(WITHIN, api.patch_status(name, &sender, &patch)).await {
            Ok(Ok(_)) => {}
            // It is gone.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return true,
            failed => {
                let code = if let Ok(Err(kube::Error::Api(status))) = &failed { status.code } else { 0 };
                warn!(schedule = path(schedule), code, "its status was not written");
                return false;
            }
        }
        let (notes, replica) = (notes(schedule, before, after), &self.settings.replica);
        let publishing = events::publish(&self.settings.client, schedule, &notes, replica, self.clock.now());
        if timeout(WITHIN, publishing).await.is_err() {
            warn!(schedule = path(schedule), "Events were not made in time");
        }
        true
    }
}

/// Looks at a schedule, if its time has come.
pub(super) async fn reconcile(
    schedule: Arc<RotationSchedule>,
    reconciler: Arc<Reconciler>,
) -> Result<Action, Infallible> {
    if schedule.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (work, clock) = (reconciler.work(&schedule), &reconciler.clock);
    let mut work = work.lock().await;
    if work.wake_at <= clock.now() {
        let Some(_turn) = reconciler.turns.take(schedule.metadata.namespace.as_deref().unwrap_or_default())
        else {
            return Ok(Action::requeue(NEXT_TURN.mul_f64(0.5 + fastrand::f64())));
        };
        reconciler.look(&schedule, &mut work).await;
    }
    // What could not be told is told later, and nothing else is done for it.
    let is_told = reconciler.tell(&schedule, &mut work.story).await;
    let latest = if is_told { LONGEST } else { TELL_AGAIN };
    Ok(Action::requeue(until(clock.now(), work.wake_at).min(latest)))
}

/// For how long the cluster may take to take in what it is told: the schedule is not looked at meanwhile.
const WITHIN: Duration = Duration::from_secs(10);
/// How soon a schedule asks for a turn again.
const NEXT_TURN: Duration = Duration::from_secs(1);
/// How soon a status that could not be written is tried again.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// A timer beyond this would be of no use to anybody.
const LONGEST: Duration = Duration::from_secs(86_400);

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler").field("settings", &self.settings).finish_non_exhaustive()
    }
}
