//! One schedule, as it was read last, and when it is looked at next.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::clock::later;
use keywheel_core::identity::TokenIssuer;
use keywheel_core::provider::Ending;
use keywheel_core::rotation::{Ask, Look, Pace, Progress, Rotator};
use keywheel_core::{Client, Clock, Error};
use tracing::{info, warn};

use super::resource::{RotationSchedule, RotationScheduleStatus};
use super::spec::{Allowed, Planned, name};
use super::status::Outcome;

/// A schedule of one generation.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) generation: Option<i64>,
    plan: Result<(Client, Rotator), String>,
    pace: Pace,
    /// Before when there is nothing to do, whoever changed something of the resource.
    pub(super) wake_at: Timestamp,
    pub(super) story: Story,
}

/// What there is to tell a schedule's owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// How it stood at the last look.
    pub(super) seen: Option<RotationScheduleStatus>,
    /// What was told last.
    pub(super) told: Option<RotationScheduleStatus>,
}

impl Work {
    /// Reads and builds a schedule; asks no server.
    pub(super) fn new(
        schedule: &RotationSchedule,
        issuer: Arc<dyn TokenIssuer>,
        allowed: &Allowed,
        clock: &Clock,
    ) -> Self {
        let said = |error: Error| error.to_string();
        let plan =
            Planned::read(schedule, issuer, allowed).and_then(|planned| planned.build(clock).map_err(said));
        match &plan {
            Ok(_) => info!(rotation = name(schedule), "a schedule is kept"),
            Err(mistakes) => warn!(rotation = name(schedule), mistakes, "a schedule cannot be kept"),
        }
        let generation = schedule.metadata.generation;
        Self { generation, plan, pace: Pace::default(), wake_at: Timestamp::MIN, story: Story::default() }
    }

    /// Does what is to be done now, and gives the login back: between two looks the controller is nobody to the provider.
    /// Where another schedule, the `holder`, has the target, there is nothing to do.
    pub(super) async fn look(&mut self, holder: Option<String>, clock: &Clock) -> Outcome {
        let (client, rotator) = match &self.plan {
            Ok(plan) => plan,
            Err(mistakes) => {
                self.wake_at = Timestamp::MAX;
                return Outcome::Invalid(mistakes.clone());
            }
        };
        if let Some(holder) = holder {
            self.wake_at = later(clock.now(), ASK_AGAIN);
            return Outcome::Taken(holder);
        }
        let advanced = rotator.advance(&Ask::default()).await;
        self.wake_at = self.pace.next(advanced.as_ref(), clock.now(), fastrand::f64());
        let outcome = match advanced {
            Ok(Progress { standing, .. }) => {
                Outcome::Looked { standing: Some(Box::new(standing)), error: None }
            }
            Err(error) => {
                warn!(rotation = rotator.name(), %error, failures = self.pace.failures(), "cannot rotate now");
                Outcome::Looked { standing: rotator.look().await.ok().map(Box::new), error: Some(error) }
            }
        };
        client.close(Ending::Revoke, CLOSE_LIMIT).await;
        outcome
    }

    /// Returns what the metrics show of it, where it is this schedule that keeps its target; `published` is how often something was, since the last one.
    pub(super) fn measured(
        &self,
        schedule: &RotationSchedule,
        outcome: &Outcome,
        published: u64,
    ) -> Option<Look> {
        let (standing, error) = match outcome {
            Outcome::Invalid(mistakes) => (None, Some(Error::config("read schedule", mistakes))),
            Outcome::Taken(_) => return None,
            Outcome::Looked { standing, error } => (standing.as_deref().cloned(), error.clone()),
        };
        Some(Look {
            failed: u64::from(error.is_some()),
            name: path(schedule),
            target: schedule.spec.target.clone(),
            strategy: self.plan.as_ref().map_or("", |(_, rotator)| rotator.strategy()),
            standing,
            error,
            published,
        })
    }
}

/// Returns a schedule's namespace and name, as metrics have it.
pub(super) fn path(schedule: &RotationSchedule) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", text(&schedule.metadata.namespace), text(&schedule.metadata.name))
}

/// How soon it is noticed that a target is free.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How long giving a login back may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
