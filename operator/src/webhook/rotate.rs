//! Certificates of the webhook's own: issued, made known, shown, and replaced before they end.

use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::Clock;
use tracing::{error, info, warn};

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
    /// What keeps the first from being made known. Once there is one, it is good for as long as it lasts, and a refusal may pass: roles that are
    /// applied anew, an API server that starts.
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
            self.make_known(&both, clock, now.is_some()).await?;
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
                self.make_known(&[&current.authority], clock, true).await?;
            }
        }
    }

    /// Tries until the authorities are known; also where it is refused, if one `is_shown` already.
    async fn make_known(&self, own: &[&str], clock: &Clock, is_shown: bool) -> Result<(), WebhookError> {
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
                Attempt::Denied(denied) if is_shown => {
                    error!(reason = denied.reason, "the certificate that is shown stays; it is tried again");
                    tokio::time::sleep(LAST_WAIT).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use kube::Client;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// An API server's part in this, which answers with a status that a test sets; with 0, it does not answer.
    #[derive(Clone, Default)]
    struct Cluster {
        status: Arc<AtomicUsize>,
        patches: Arc<AtomicUsize>,
    }

    impl Cluster {
        fn set(&self, status: usize) {
            self.status.store(status, Ordering::Relaxed);
        }

        fn patches(&self) -> usize {
            self.patches.load(Ordering::Relaxed)
        }

        async fn answer(self, is_patch: bool) -> (StatusCode, String) {
            let status = self.status.load(Ordering::Relaxed);
            if status == 0 {
                return std::future::pending().await;
            }
            self.patches.fetch_add(usize::from(is_patch && status == 200), Ordering::Relaxed);
            let hook = serde_json::json!({"name": "pods.keywheel.dev", "clientConfig": {}, "admissionReviewVersions": ["v1"], "sideEffects": "None"});
            let body = match status {
                200 => {
                    serde_json::json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                    "metadata": {"name": "keywheel", "resourceVersion": "1"}, "webhooks": [hook]})
                }
                code => {
                    serde_json::json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code})
                }
            };
            (StatusCode::from_u16(status.try_into().unwrap()).unwrap(), body.to_string())
        }

        fn client(&self) -> Client {
            let (read, changed) = (self.clone(), self.clone());
            let methods = get(move || read.clone().answer(false)).patch(move || changed.clone().answer(true));
            let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/keywheel";
            Client::new(Router::new().route(path, methods), "keywheel")
        }

        /// Runs `script` beside an issuer that must not end by itself.
        async fn beside(&self, script: impl AsyncFnOnce(&Served, &Clock)) {
            let clock = Clock::paused(Timestamp::UNIX_EPOCH);
            let (issuer, served) = (self.issuer(), Served::default());
            tokio::select! {
                error = issuer.keep(&served, &clock) => panic!("it has ended: {error}"),
                () = script(&served, &clock) => {}
            }
        }

        fn issuer(&self) -> SelfIssued {
            let configuration = Configuration::new(self.client(), "keywheel");
            SelfIssued { names: vec!["k.svc".into()], replica: "a".into(), life: 24 * HOUR, configuration }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_who_has_shown_nothing_yet_and_nobody_else() {
        let cluster = Cluster::default();
        cluster.set(403);
        let clock = Clock::paused(Timestamp::UNIX_EPOCH);
        assert!(cluster.issuer().keep(&Served::default(), &clock).await.is_denied);

        cluster.set(200);
        cluster
            .beside(async |served, clock| {
                tokio::time::sleep(LOOKS / 2).await;
                assert!(served.is_ready(clock.now()));
                for status in [401, 403, 404] {
                    cluster.set(status);
                    tokio::time::sleep(HOUR).await;
                    assert!(served.is_ready(clock.now()), "{status}");
                }
                let before = cluster.patches();
                cluster.set(200);
                tokio::time::sleep(2 * LOOKS).await;
                assert!(cluster.patches() > before, "it is made known again");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_there_or_does_not_answer_is_waited_for() {
        let cluster = Cluster::default();
        cluster
            .beside(async |served, clock| {
                for status in [404, 0] {
                    cluster.set(status);
                    tokio::time::sleep(HOUR).await;
                    assert!(!served.is_ready(clock.now()), "{status}");
                }
                cluster.set(200);
                tokio::time::sleep(2 * LOOKS).await;
                assert!(served.is_ready(clock.now()));
            })
            .await;
    }
}
