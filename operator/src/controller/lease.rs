//! The Lease in the cluster, by compare-and-set: taken, kept, and given back.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use keywheel_core::Clock;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::Settings;
use super::leader::{Found, Move, Pace, Seen, Term};

/// A replica's way to the one Lease of all.
pub(super) struct Lease {
    api: Api<Object>,
    name: String,
    me: String,
    pace: Pace,
    clock: Clock,
    seen: Option<Seen>,
    answered_at: watch::Sender<Option<Instant>>,
}

impl Lease {
    /// Takes the names of the Lease and of this replica: no two of them may have one name.
    pub(super) fn new(settings: &Settings, clock: &Clock) -> Self {
        let (namespace, name) = &settings.lease;
        Self {
            api: Api::namespaced(settings.client.clone(), namespace),
            name: name.clone(),
            me: settings.replica.clone(),
            pace: Pace::default(),
            clock: clock.clone(),
            seen: None,
            answered_at: watch::Sender::new(None),
        }
    }

    /// Follows when the cluster last answered.
    pub(super) fn answered_at(&self) -> watch::Receiver<Option<Instant>> {
        self.answered_at.subscribe()
    }

    /// Waits until it is this replica's.
    pub(super) async fn acquire(&mut self) -> Term {
        let mut told = None;
        loop {
            match self.turn(self.pace.works).await {
                Ok(Some(term)) => {
                    info!(lease = self.name, replica = self.me, "leads");
                    return term;
                }
                Ok(None) => {}
                Err(reason) if told.as_ref() == Some(&reason) => debug!(reason, "the lease cannot be had"),
                Err(reason) => {
                    warn!(reason, "the lease cannot be had");
                    told = Some(reason);
                }
            }
            // Apart from each other, so that two that wait do not ask at one moment for ever.
            self.sleep(self.pace.turn.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
        }
    }

    /// Renews it, and returns when that was not done in time, or somebody else has it: whatever leads has to stop at that moment.
    pub(super) async fn keep(&mut self, mut term: Term) {
        loop {
            let ends_at = term.ends_at(self.pace);
            let next = (self.clock.instant() + self.pace.turn).min(ends_at);
            self.clock.sleep_until(next).await;
            let left = ends_at.saturating_duration_since(self.clock.instant());
            match self.turn(left).await {
                Ok(Some(renewed)) => term = renewed,
                Ok(None) => return warn!(lease = self.name, "another replica leads: the work is stopped"),
                Err(reason) => warn!(reason, "the lease was not renewed"),
            }
            if term.ends_at(self.pace) <= self.clock.instant() {
                return warn!(lease = self.name, "the lease was not renewed in time: the work is stopped");
            }
        }
    }

    /// Gives it back, so that another replica need not wait for its end.
    pub(super) async fn release(&mut self) {
        let released = timeout(self.pace.turn, async {
            let Ok(object) = self.api.get(&self.name).await else { return false };
            let spec = object.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(&self.me) {
                return false;
            }
            let free = Object { spec: Some(LeaseSpec { holder_identity: None, ..spec }), ..object };
            self.api.replace(&self.name, &PostParams::default(), &free).await.is_ok()
        });
        match released.await {
            Ok(true) => info!(lease = self.name, "the lease is given back"),
            Ok(false) => debug!(lease = self.name, "there was no lease to give back"),
            Err(_) => warn!(lease = self.name, "the lease was not given back: others wait for its end"),
        }
    }

    /// Looks at it, and takes it where it may be taken; all within `limit`.
    async fn turn(&mut self, limit: Duration) -> Result<Option<Term>, String> {
        let turn = timeout(limit, self.ask()).await;
        turn.unwrap_or_else(|_| Err("the cluster's API server does not answer".into()))
    }

    async fn ask(&mut self) -> Result<Option<Term>, String> {
        let asked_at = self.clock.instant();
        let object = self.api.get_opt(&self.name).await.map_err(|error| self.explained("get", &error))?;
        let now = self.clock.instant();
        self.answered_at.send_replace(Some(now));
        let Some(object) = object else {
            let new = self.signed(Object::default());
            let made = self.api.create(&PostParams::default(), &new).await;
            return self.came_of("create", made, asked_at);
        };
        let found = found(&object);
        let seen = Seen::after(self.seen.take(), &found, now);
        let decided = seen.decide(&found, &self.me, self.pace, now);
        self.seen = Some(seen);
        if decided == Move::Wait {
            return Ok(None);
        }
        // Counted from here: the write cannot have happened before.
        let asked_at = self.clock.instant();
        let signed = self.signed(object);
        let written = self.api.replace(&self.name, &PostParams::default(), &signed).await;
        self.came_of("update", written, asked_at)
    }

    fn came_of(
        &self,
        verb: &str,
        written: kube::Result<Object>,
        asked_at: Instant,
    ) -> Result<Option<Term>, String> {
        match written {
            Ok(_) => Ok(Some(Term::of(asked_at))),
            // Somebody wrote it in between; the next look tells who.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err("another replica asks for the lease".into())
            }
            Err(error) => Err(self.explained(verb, &error)),
        }
    }

    /// Returns the object with our name in it, at the version that it was found in.
    fn signed(&self, object: Object) -> Object {
        let now = micros(self.clock.now());
        let before = object.spec.unwrap_or_default();
        let is_mine = before.holder_identity.as_deref() == Some(&self.me);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(self.pace.lasts.as_secs().try_into().unwrap_or(i32::MAX)),
            acquire_time: if is_mine { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!is_mine)),
            ..before
        };
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..object.metadata };
        Object { metadata, spec: Some(spec) }
    }

    fn explained(&self, verb: &str, error: &kube::Error) -> String {
        let kube::Error::Api(status) = error else {
            return "the cluster's API server cannot be reached".into();
        };
        let what = format!("the API server answers {} to {verb} leases/{}", status.code, self.name);
        match status.code {
            401 | 403 => format!(
                "{what}; allow this service account `get` and `update` on that Lease, and make it (deploy/base has both)"
            ),
            _ => what,
        }
    }

    async fn sleep(&self, span: Duration) {
        self.clock.sleep_until(self.clock.instant() + span).await;
    }
}

fn found(object: &Object) -> Found {
    let spec = object.spec.as_ref();
    let seconds =
        spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| seconds.try_into().ok());
    Found {
        holder: spec.and_then(|spec| spec.holder_identity.clone()),
        lasts: seconds.map(|seconds: u32| Duration::from_secs(seconds.into()).min(LONGEST)),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// Returns a moment as the API has it.
pub(super) fn micros(at: Timestamp) -> Option<MicroTime> {
    serde_json::from_value(format!("{at:.6}").into()).ok()
}

/// The longest that is waited for a holder, whatever it says.
const LONGEST: Duration = Duration::from_secs(300);

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("name", &self.name).field("me", &self.me).finish_non_exhaustive()
    }
}
