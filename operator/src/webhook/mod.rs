//! The webhook's server: HTTPS for the API server, plain HTTP for the kubelet's probes and for metrics.
//!
//! ```text
//! connections -> TLS (a certificate that is replaced while it serves) -> review -> Injector
//! ```

mod body;
pub mod bundle;
pub mod certificate;
pub mod files;
mod metrics;
mod probes;
mod publish;
mod review;
mod rotate;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use keywheel_core::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use self::body::Room;
pub use self::certificate::{CertificateError, Served};
pub use self::files::Files;
pub use self::metrics::Metrics;
pub use self::publish::Configuration;
pub use self::review::{Problem, Reply, answer};
pub use self::rotate::SelfIssued;
use crate::inject::Injector;

/// A webhook whose addresses are bound.
#[derive(Debug)]
pub struct Webhook {
    /// What it decides with.
    pub injector: Injector,
    /// Where the API server asks.
    pub reviews: TcpListener,
    /// Where the kubelet and Prometheus ask.
    pub probes: TcpListener,
    /// Where its certificate comes from.
    pub source: Source,
    /// For how long it goes on answering once it is to stop, so that nobody is still sent here.
    pub drain: Duration,
}

/// Where the certificate comes from.
#[derive(Debug)]
pub enum Source {
    /// Files that somebody else replaces (cert-manager, say).
    Files(Files),
    /// The webhook itself; the API server is told of the authority.
    SelfIssued(Box<SelfIssued>),
}

impl Webhook {
    /// Serves until `stop`, goes on for as long as it is drained, and lets the answers under way come to their end.
    ///
    /// # Errors
    /// What ends it before: an authority that may not be published, say.
    pub async fn run(self, clock: &Clock, stop: impl Future<Output = ()>) -> Result<(), WebhookError> {
        let metrics = Arc::new(Metrics::default());
        let served = Served::default();
        let (stopping, stopped) = watch::channel(false);
        let shared = serve::Shared {
            injector: Arc::new(self.injector),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            room: Room::default(),
        };
        let reviews = serve::run(self.reviews, served.clone(), shared, stopped.clone());
        let probes = async {
            probes::run(self.probes, served.clone(), metrics, clock.clone(), stopped).await;
            Ok(())
        };
        let certificates = async {
            match self.source {
                Source::Files(files) => files.follow(&served).await,
                Source::SelfIssued(issuer) => issuer.keep(&served, clock).await,
            }
        };
        let ending = async {
            stop.await;
            served.retire();
            info!(drain = ?self.drain, "stops once nobody is sent here any more");
            tokio::time::sleep(self.drain).await;
            // Whoever listens has ended already otherwise.
            stopping.send(true).ok();
        };
        let serving = async { tokio::try_join!(reviews, probes).map(drop) };
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended,
            error = certificates => return Err(error),
            () = ending => {}
        }
        serving.await
    }
}

/// Why the webhook ended.
#[derive(Debug)]
pub struct WebhookError {
    /// What failed, and what to do.
    pub reason: String,
    /// Whether somebody refused, and will again.
    pub is_denied: bool,
}

impl std::fmt::Display for WebhookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for WebhookError {}
