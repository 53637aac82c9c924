//! Gives up on a provider that does not answer.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Ending, Leases, Provider};
use crate::reference::SecretRef;
use crate::rotation::{Fields, Store};
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

    fn group(&self, reference: &SecretRef) -> Option<String> {
        self.inner.group(reference)
    }

    /// Not bounded: the source has its own time for it.
    async fn rotate(&self, reference: &SecretRef, token: &str) -> Result<Version> {
        self.inner.rotate(reference, token).await
    }

    async fn invoke(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        self.bounded(reference, self.inner.invoke(reference, fields)).await
    }

    async fn rotated(&self, reference: &SecretRef) -> Result<(Version, Option<Timestamp>)> {
        self.bounded(reference, self.inner.rotated(reference)).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }

    fn store(&self) -> Option<&dyn Store> {
        self.inner.store()
    }

    fn realm(&self) -> String {
        self.inner.realm()
    }

    async fn maintain(&self) {
        self.inner.maintain().await;
    }

    async fn close(&self, ending: Ending) -> Result<()> {
        bounded_close(self.limit, self.inner.close(ending)).await
    }
}

async fn bounded_close(limit: Duration, close: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(limit, close).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, "close", format!("no answer within {limit:?}")))
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::layer::{Retry, RetryPolicy};
    use crate::memory::Memory;

    const LIMIT: Duration = Duration::from_secs(2);

    fn fixture(delay: Duration) -> (Memory, Timeout<Memory>, SecretRef) {
        let memory = Memory::new();
        memory.set("a", [("f", "v")]);
        memory.answer_after(delay);
        (memory.clone(), Timeout::new(memory, LIMIT), "memory://a#f".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_is_the_answer() {
        let (_, timeout, reference) = fixture(LIMIT - Duration::from_millis(1));
        let secret = timeout.read(&reference).await.unwrap();
        assert!(timeout.read_if_changed(&reference, secret.version()).await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_in_time_is_a_temporary_error_that_says_so() {
        let (memory, timeout, reference) = fixture(Duration::from_secs(3600));
        let start = Instant::now();
        let error = timeout.read(&reference).await.unwrap_err();
        assert!(start.elapsed() < LIMIT + Duration::from_millis(10), "{:?}", start.elapsed());
        assert_eq!(
            format!("{error:?}"),
            "Error(Timeout, temporary: read: timed out: no answer within 2s (reference: memory://a#f))"
        );
        let error = timeout.read_if_changed(&reference, &Version::new(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        memory.answer_after(Duration::ZERO);
        assert!(timeout.read(&reference).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_costs_one_time_out() {
        let (memory, timeout, reference) = fixture(Duration::from_secs(3600));
        let start = Instant::now();
        assert!(Retry::new(timeout, RetryPolicy::default()).read(&reference).await.is_err());
        assert_eq!(memory.reads(), 1);
        assert!(start.elapsed() < LIMIT + Duration::from_millis(10), "{:?}", start.elapsed());
    }

    /// A provider that hangs when it is closed.
    #[derive(Debug)]
    struct Clinging;

    #[async_trait]
    impl Provider for Clinging {
        fn validate(&self, _: &SecretRef) -> Result<()> {
            Ok(())
        }

        async fn read(&self, _: &SecretRef) -> Result<Secret> {
            std::future::pending().await
        }

        async fn close(&self, _: Ending) -> Result<()> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn closing_is_bounded_too() {
        let error = Timeout::new(Clinging, LIMIT).close(Ending::Revoke).await.unwrap_err();
        assert_eq!(error.to_string(), "close: timed out: no answer within 2s");
    }
}
