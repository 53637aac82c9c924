//! Certificates of the webhook's own: issued, made known, shown, and replaced before they end.

use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::Clock;
use tracing::{info, warn};

use super::WebhookError;
use super::certificate::{Issued, Served, issue};
use super::publish::{Attempt, Configuration};

/// A webhook that issues its own certificates. Nothing of them is kept anywhere: a replica that starts makes new ones.
#[derive(Debug)]
pub struct SelfIssued {
    /// The names that the API server knows the webhook by.
    pub names: Vec<String>,
    /// What tells this replica from the others.
    pub replica: String,
    /// For how long a certificate is valid; the next one is made when two thirds of that are over.
    pub life: Duration,
    /// Where the API server is told whom to trust.
    pub configuration: Configuration,
}

impl SelfIssued {
    /// Keeps a valid certificate shown that the API server trusts. Each is made known before it is shown.
    ///
    /// # Errors
    /// What keeps it from being made known for good.
    pub(super) async fn keep(&self, served: &Served, clock: &Clock) -> WebhookError {
        match self.keep_on(served, clock).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn keep_on(
        &self,
        served: &Served,
        clock: &Clock,
    ) -> Result<std::convert::Infallible, WebhookError> {
        let mut now: Option<Issued> = None;
        loop {
            let begun = clock.now();
            let next = issue(&self.replica, &self.names, begun, self.life)
                .map_err(|error| WebhookError { reason: error.to_string(), is_denied: false })?;
            let before = now.as_ref().map(|issued| issued.authority.as_str());
            let both: Vec<&str> = before.into_iter().chain([next.authority.as_str()]).collect();
            self.make_known(&both, clock).await?;
            // The API servers hear of it by a watch; until then, they trust the certificate before, or another replica's.
            tokio::time::sleep(HEARD.min(self.life / 10)).await;
            served.replace(next.certificate.clone());
            info!(ends_at = %next.certificate.ends_at, "shows a certificate of its own");
            let renew_at = renew_at(begun, self.life);
            let current = now.insert(next);
            while clock.now() < renew_at {
                let left = renew_at.duration_since(clock.now()).unsigned_abs();
                tokio::time::sleep(LOOKS.min(left)).await;
                // Somebody may have made the configuration anew.
                self.make_known(&[&current.authority], clock).await?;
            }
        }
    }

    /// Tries until the authorities are known.
    async fn make_known(&self, own: &[&str], clock: &Clock) -> Result<(), WebhookError> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.configuration.publish(own, &self.replica, clock.now()).await {
                Attempt::Done => return Ok(()),
                Attempt::Changed => {
                    info!("the API server is told whom to trust");
                    return Ok(());
                }
                Attempt::Again(reason) => {
                    warn!(reason, wait = ?wait, "the API server could not be told whom to trust");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_WAIT);
                }
                Attempt::Denied(error) => return Err(error),
            }
        }
    }
}

fn renew_at(begun: Timestamp, life: Duration) -> Timestamp {
    begun.checked_add(life * 2 / 3).unwrap_or(begun)
}

const LOOKS: Duration = Duration::from_secs(60);
const HEARD: Duration = Duration::from_secs(3);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_secs(30);
