//! What was done, for whoever asks later.

use tracing::{info, warn};

use super::{Ask, Rotation, Rotator};
use crate::audit::TARGET;
use crate::rotation::course::{Event, Phase, Step};

impl Rotator {
    /// Says who did what to which secret, and what came of it.
    pub(super) fn audit(&self, step: Step, event: &Event, ask: &Ask, before: &Phase) {
        let Rotation { name, target, strategy, .. } = &self.rotation;
        let attempt = match event {
            Event::Created(attempt) => Some(attempt),
            _ => before.attempt(),
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
                warn!(target: TARGET, event = "rotation", rotation = name, secret = %target, strategy, step, outcome, token, %by, reason, %error, "rotation");
            }
            _ => {
                info!(target: TARGET, event = "rotation", rotation = name, secret = %target, strategy, step, outcome, token, version, %by, reason, "rotation");
            }
        }
    }
}
