//! Gives up on a provider that does not answer.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::secret::{Secret, Version};

/// Bounds each call of a provider in time. The bound is for the whole call: a provider that waits for its budget on the way bounds its
/// requests itself and does not need this.
#[derive(Debug)]
pub struct Timeout<P> {
    inner: P,
    limit: Duration,
}

impl<P: Provider> Timeout<P> {
    /// Wraps `inner`.
    pub fn new(inner: P, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn bounded<T>(&self, reference: &SecretRef, call: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(result) => result,
            Err(_) => {
                let reason = format!("no answer within {:?}", self.limit);
                Err(Error::new(ErrorKind::Timeout, "read", reason).with("reference", reference))
            }
        }
    }
}

#[async_trait]
impl<P: Provider> Provider for Timeout<P> {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        self.inner.validate(reference)
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.bounded(reference, self.inner.read(reference)).await
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        self.bounded(reference, self.inner.read_if_changed(reference, known)).await
    }

    fn changes(&self, reference: &SecretRef) -> Option<watch::Receiver<()>> {
        self.inner.changes(reference)
    }

    async fn maintain(&self) {
        self.inner.maintain().await;
    }

    async fn close(&self) -> Result<()> {
        bounded_close(self.limit, self.inner.close()).await
    }
}

async fn bounded_close(limit: Duration, close: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(limit, close).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, "close", format!("no answer within {limit:?}")))
    })
}
