//! Retries what may succeed a moment later, and nothing else.

use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use tokio::sync::watch;
use tracing::debug;

use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::secret::{Secret, Version};

/// How often and how long a temporary failure is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// How many times after the first.
    pub retries: usize,
    /// The longest wait before the first retry; it doubles from there.
    pub first: Duration,
    /// The longest wait of all, also when the server asks for more: then the error is returned at once, and the caller decides.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    /// Three retries within a few seconds: enough for a cut connection or a change of leader.
    fn default() -> Self {
        Self { retries: 3, first: Duration::from_millis(250), longest: Duration::from_secs(2) }
    }
}

/// Tries a provider's reads again while they fail temporarily, after waits with full jitter (each is a random part of its bound), or as
/// long as the server asked for.
#[derive(Debug)]
pub struct Retry<P> {
    inner: P,
    policy: RetryPolicy,
}

impl<P: Provider> Retry<P> {
    /// Wraps `inner`.
    pub fn new(inner: P, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    fn is_worth_it(&self, error: &Error) -> bool {
        error.is_temporary() && error.retry_after().is_none_or(|after| after <= self.policy.longest)
    }
}

/// Bounds that double, each replaced by a random part of itself.
#[derive(Clone, Copy, Debug)]
struct FullJitter(RetryPolicy);

impl BackoffBuilder for FullJitter {
    type Backoff = Box<dyn Iterator<Item = Duration> + Send + Sync>;

    fn build(self) -> Self::Backoff {
        let bounds = ExponentialBuilder::new()
            .with_min_delay(self.0.first)
            .with_max_delay(self.0.longest)
            .with_max_times(self.0.retries)
            .build();
        Box::new(bounds.map(|bound| bound.mul_f64(fastrand::f64())))
    }
}

macro_rules! retried {
    ($self:ident, $call:expr) => {
        (|| $call)
            .retry(FullJitter($self.policy))
            .when(|error: &Error| $self.is_worth_it(error))
            .adjust(|error: &Error, wait| wait.map(|wait| error.retry_after().unwrap_or(wait)))
            .notify(|error, wait| debug!(%error, ?wait, "trying again"))
            .await
    };
}

#[async_trait]
impl<P: Provider> Provider for Retry<P> {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        self.inner.validate(reference)
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        retried!(self, self.inner.read(reference))
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        retried!(self, self.inner.read_if_changed(reference, known))
    }

    fn changes(&self, reference: &SecretRef) -> Option<watch::Receiver<()>> {
        self.inner.changes(reference)
    }

    async fn maintain(&self) {
        self.inner.maintain().await;
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
