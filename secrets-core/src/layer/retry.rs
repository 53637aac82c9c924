//! Retries what may succeed a moment later, and nothing else.

use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::debug;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Ending, Leases, Provider};
use crate::reference::SecretRef;
use crate::rotation::{Fields, Store};
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

/// Tries a provider's reads again while they fail temporarily, but not one that had all of its time already: another would take as long.
/// It waits with full jitter (each wait is a random part of its bound), or as long as the server asked for.
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
}

impl RetryPolicy {
    /// Makes a call, and again while it fails temporarily.
    pub(crate) async fn run<T, F: Future<Output = Result<T>>>(self, call: impl FnMut() -> F) -> Result<T> {
        call.retry(FullJitter(self))
            .when(|error: &Error| self.is_worth_it(error))
            .adjust(|error: &Error, wait| wait.map(|wait| error.retry_after().unwrap_or(wait)))
            .notify(|error, wait| debug!(%error, ?wait, "trying again"))
            .await
    }

    fn is_worth_it(self, error: &Error) -> bool {
        let soon = error.retry_after().is_none_or(|after| after <= self.longest);
        error.is_temporary() && error.kind() != ErrorKind::Timeout && soon
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

#[async_trait]
impl<P: Provider> Provider for Retry<P> {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        self.inner.validate(reference)
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.policy.run(|| self.inner.read(reference)).await
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        self.policy.run(|| self.inner.read_if_changed(reference, known)).await
    }

    fn changes(&self, reference: &SecretRef) -> Option<watch::Receiver<()>> {
        self.inner.changes(reference)
    }

    fn group(&self, reference: &SecretRef) -> Option<String> {
        self.inner.group(reference)
    }

    /// Not tried again: the source may be at it already.
    async fn rotate(&self, reference: &SecretRef, token: &str) -> Result<Version> {
        self.inner.rotate(reference, token).await
    }

    /// Not tried again: it may have been done.
    async fn invoke(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        self.inner.invoke(reference, fields).await
    }

    async fn rotated(&self, reference: &SecretRef) -> Result<(Version, Option<Timestamp>)> {
        self.policy.run(|| self.inner.rotated(reference)).await
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
        self.inner.close(ending).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::memory::Memory;

    const POLICY: RetryPolicy =
        RetryPolicy { retries: 4, first: Duration::from_millis(200), longest: Duration::from_secs(1) };

    fn fixture() -> (Memory, Retry<Memory>, SecretRef) {
        let memory = Memory::new();
        memory.set("a", [("f", "v")]);
        (memory.clone(), Retry::new(memory, POLICY), "memory://a".parse().unwrap())
    }

    fn failure(kind: ErrorKind) -> Error {
        Error::new(kind, "read", "by appointment")
    }

    #[tokio::test(start_paused = true)]
    async fn a_temporary_failure_is_tried_again_until_it_ends_or_the_retries_do() {
        let (memory, retry, reference) = fixture();
        memory.fail_next(4, failure(ErrorKind::Unavailable));
        assert!(retry.read(&reference).await.is_ok());
        assert_eq!(memory.reads(), 5);
        memory.fail_next(5, failure(ErrorKind::Unavailable));
        assert_eq!(retry.read(&reference).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(memory.reads(), 10);
        memory.fail_next(4, failure(ErrorKind::RateLimited));
        assert!(retry.read_if_changed(&reference, &Version::new(0)).await.unwrap().is_some());
        assert_eq!(memory.version_checks(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_failure_and_a_time_out_are_never_tried_again() {
        let (memory, retry, reference) = fixture();
        let start = Instant::now();
        let kinds = [
            ErrorKind::Config,
            ErrorKind::Unauthenticated,
            ErrorKind::PermissionDenied,
            ErrorKind::NotFound,
            ErrorKind::Invalid,
            ErrorKind::Unsupported,
            ErrorKind::Timeout,
        ];
        for kind in kinds {
            memory.fail_next(1, failure(kind));
            assert_eq!(retry.read(&reference).await.unwrap_err().kind(), kind);
        }
        // Nor when a temporary failure turns into it.
        memory.fail_next(1, failure(ErrorKind::PermissionDenied));
        memory.fail_next(1, failure(ErrorKind::Unavailable).with_retry_after(Some(Duration::ZERO)));
        assert_eq!(retry.read(&reference).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(memory.reads(), kinds.len() + 2);
        assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_is_left_alone_for_as_long_as_it_asks() {
        let (memory, retry, reference) = fixture();
        let asked = Duration::from_millis(900);
        memory.fail_next(2, failure(ErrorKind::RateLimited).with_retry_after(Some(asked)));
        let start = Instant::now();
        assert!(retry.read(&reference).await.is_ok());
        let waited = start.elapsed();
        assert!(waited >= 2 * asked && waited < 2 * asked + Duration::from_millis(10), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_more_than_the_longest_wait_is_left_to_the_caller() {
        let (memory, retry, reference) = fixture();
        let asked = Some(POLICY.longest + Duration::from_millis(1));
        memory.fail_next(9, failure(ErrorKind::RateLimited).with_retry_after(asked));
        let start = Instant::now();
        let error = retry.read(&reference).await.unwrap_err();
        assert_eq!((error.retry_after(), memory.reads()), (asked, 1));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[test]
    fn waits_are_any_part_of_bounds_that_double() {
        let bounds = [200, 400, 800, 1000].map(Duration::from_millis);
        let mut seen = [(Duration::MAX, Duration::ZERO); 4];
        for _ in 0..1000 {
            let waits: Vec<Duration> = FullJitter(POLICY).build().collect();
            assert_eq!(waits.len(), bounds.len());
            for (((shortest, longest), wait), bound) in seen.iter_mut().zip(waits).zip(bounds) {
                assert!(wait <= bound, "{wait:?} of {bound:?}");
                (*shortest, *longest) = ((*shortest).min(wait), (*longest).max(wait));
            }
        }
        // Of a thousand, all of them in nine tenths of the bound: that is no chance.
        for ((shortest, longest), bound) in seen.into_iter().zip(bounds) {
            assert!(
                shortest < bound / 10 && longest > bound * 9 / 10,
                "{shortest:?} {longest:?} of {bound:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_tries_no_more() {
        let (memory, retry, reference) = fixture();
        memory.fail_until_cleared(failure(ErrorKind::Unavailable).with_retry_after(Some(POLICY.longest)));
        let read = tokio::time::timeout(POLICY.longest * 2 + POLICY.first, retry.read(&reference));
        assert!(read.await.is_err());
        assert_eq!(memory.reads(), 3);
        tokio::time::sleep(POLICY.longest * 10).await;
        assert_eq!(memory.reads(), 3);
    }
}
