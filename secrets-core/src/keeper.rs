//! Keeps one secret fresh: reads it, asks again at its own pace, and hands out the newest good value.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::client::{Client, named};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::schedule::{self, Failure};
use crate::secret::Secret;

/// What is known of a secret at a moment. The newest good value stays while its source fails.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The newest good value; `None` until the first read succeeded.
    pub secret: Option<Arc<Secret>>,
    /// Counts the values: it tells a new one from the last, also where the source has written it under the same version.
    pub revision: u64,
    /// When the source last confirmed that this is the newest value.
    pub confirmed_at: Option<Timestamp>,
    /// When the source is asked next.
    pub next_at: Option<Timestamp>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<Error>,
    /// How many attempts failed in a row.
    pub failures: u32,
}

/// The loop behind one secret; made with its [`KeeperHandle`] by [`Keeper::new`].
#[derive(Debug)]
pub struct Keeper {
    reference: SecretRef,
    provider: Arc<dyn Provider>,
    refresh: Duration,
    clock: Clock,
    state: watch::Sender<Kept>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    told: Vec<Arc<Notify>>,
}

/// Sees what a [`Keeper`] keeps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperHandle {
    state: watch::Receiver<Kept>,
    ask: mpsc::Sender<oneshot::Sender<()>>,
}

impl Keeper {
    /// Makes a keeper that asks for `reference` every `refresh`, and the handle to see what it finds.
    ///
    /// # Errors
    /// A reference that its provider could not read.
    pub fn new(
        client: &Client,
        reference: &SecretRef,
        refresh: Duration,
        clock: &Clock,
    ) -> Result<(Self, KeeperHandle)> {
        client.validate(reference)?;
        let (state, seen) = watch::channel(Kept::default());
        let (ask, asked) = mpsc::channel(16);
        let provider = Arc::clone(client.provider(reference)?);
        let keeper = Self {
            reference: reference.whole(),
            provider,
            refresh,
            clock: clock.clone(),
            state,
            asked,
            told: Vec::new(),
        };
        Ok((keeper, KeeperHandle { state: seen, ask }))
    }

    /// Returns what is kept: the reference without its field.
    pub fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// Has `wake` notified of every new value.
    pub fn tell(&mut self, wake: Arc<Notify>) {
        self.told.push(wake);
    }

    /// Keeps the secret until it is dropped, which is safe at any moment.
    pub async fn run(mut self) {
        let mut changes = self.provider.changes(&self.reference);
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let wait = self.attempt().await;
            for answer in waiting.drain(..) {
                // Whoever asked may have stopped waiting.
                answer.send(()).ok();
            }
            let next = self.clock.instant() + wait;
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                Some(answer) = self.asked.recv() => waiting.push(answer),
                () = changed(&mut changes) => self.clock.sleep_until(self.clock.instant() + SETTLE).await,
            }
            while let Ok(answer) = self.asked.try_recv() {
                waiting.push(answer);
            }
        }
    }

    /// Asks the source once, publishes what came of it, and returns how long to wait.
    async fn attempt(&self) -> Duration {
        let known = self.state.borrow().secret.clone();
        let read = match &known {
            Some(secret) => self.provider.read_if_changed(&self.reference, secret.version()).await,
            None => self.provider.read(&self.reference).await.map(Some),
        };
        let failures = self.state.borrow().failures + 1;
        let (wait, error) = match &read {
            Ok(_) => (schedule::after_success(self.refresh, fastrand::f64()), None),
            Err(error) => {
                let error = named(error.clone(), &self.reference);
                let failure = Failure {
                    temporary: error.is_temporary(),
                    count: failures,
                    retry_after: error.retry_after(),
                };
                (schedule::after_failure(failure, self.refresh, fastrand::f64()), Some(error))
            }
        };
        self.report(known.is_some(), failures, error.as_ref(), wait);
        let is_new = matches!(read, Ok(Some(_)));
        let now = self.clock.now();
        let next_at = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        self.state.send_modify(|kept| {
            kept.next_at = next_at;
            match read {
                Ok(secret) => {
                    (kept.error, kept.failures, kept.confirmed_at) = (None, 0, Some(now));
                    if let Some(secret) = secret {
                        kept.secret = Some(Arc::new(secret));
                        kept.revision += 1;
                    }
                }
                Err(_) => (kept.error, kept.failures) = (error, failures),
            }
        });
        if is_new {
            self.told.iter().for_each(|wake| wake.notify_one());
        }
        wait
    }

    /// Says when a source begins to fail and when it is back; in between once for each doubling.
    fn report(&self, kept: bool, failures: u32, error: Option<&Error>, wait: Duration) {
        let reference = &self.reference;
        match error {
            Some(error) if failures.is_power_of_two() => {
                let stands = if kept { "the last good value stays" } else { "there is no value yet" };
                warn!(%reference, %error, failures, retry_in = ?wait, "cannot read the secret; {stands}");
            }
            None if failures > 1 => {
                info!(%reference, failures = failures - 1, "the secret can be read again")
            }
            _ => {}
        }
    }
}

/// How long a burst of change hints may take to end before the source is read: an editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(50);

async fn changed(changes: &mut Option<watch::Receiver<()>>) {
    let gone = match changes {
        Some(receiver) => receiver.changed().await.is_err(),
        None => std::future::pending().await,
    };
    if gone {
        *changes = None;
        std::future::pending().await
    }
}

impl KeeperHandle {
    /// Returns what is known now.
    pub fn kept(&self) -> Kept {
        self.state.borrow().clone()
    }

    /// Returns [`Kept::revision`]: 0 until there is a value.
    pub fn revision(&self) -> u64 {
        self.state.borrow().revision
    }

    /// Has the source asked now, and waits until it answered, `limit` has passed or the keeper is gone.
    pub async fn refresh(&self, limit: Duration) {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            if self.ask.send(answer).await.is_ok() {
                // The keeper is gone: nothing to wait for.
                answered.await.ok();
            }
        };
        // What did not come in time comes with the next change.
        tokio::time::timeout_at(Instant::now() + limit, asked).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::ProviderConfig;
    use crate::environment::Environment;
    use crate::error::ErrorKind;
    use crate::memory::Memory;
    use crate::registry::Kind;

    const REFRESH: Duration = Duration::from_secs(10);

    struct Run {
        memory: Memory,
        handle: KeeperHandle,
        _task: tokio::task::JoinSet<()>,
    }

    fn run(memory: &Memory) -> Run {
        let blueprint = memory.configure_from(&Environment::default()).unwrap();
        let providers = BTreeMap::from([("memory".to_owned(), ProviderConfig::new(blueprint))]);
        let clock = Clock::paused(Timestamp::UNIX_EPOCH);
        let client = Client::build(&providers, &clock).unwrap();
        let (keeper, handle) = Keeper::new(&client, &"memory://a".parse().unwrap(), REFRESH, &clock).unwrap();
        let mut task = tokio::task::JoinSet::new();
        task.spawn(keeper.run());
        Run { memory: memory.clone(), handle, _task: task }
    }

    async fn version_after(run: &Run, wait: Duration) -> Option<String> {
        tokio::time::sleep(wait).await;
        run.handle.kept().secret.map(|secret| secret.version().to_string())
    }

    fn down(kind: ErrorKind) -> Error {
        Error::new(kind, "read", "the source is down")
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_within_the_interval_and_a_hint_at_once() {
        let memory = Memory::new();
        memory.set("a", [("k", "1")]);
        let polled = run(&memory.clone().without_hints());
        let told = run(&memory);
        assert_eq!(version_after(&polled, Duration::from_millis(1)).await.as_deref(), Some("1"));
        memory.set("a", [("k", "2")]);
        assert_eq!(version_after(&told, SETTLE * 2).await.as_deref(), Some("2"));
        assert_eq!(version_after(&polled, Duration::ZERO).await.as_deref(), Some("1"));
        assert_eq!(version_after(&polled, REFRESH).await.as_deref(), Some("2"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_keeps_the_last_good_value_and_recovers_by_itself() {
        let memory = Memory::new().without_hints();
        memory.set("a", [("k", "1")]);
        let run = run(&memory);
        assert_eq!(version_after(&run, Duration::from_millis(1)).await.as_deref(), Some("1"));
        run.memory.fail_until_cleared(down(ErrorKind::Unavailable));
        assert_eq!(version_after(&run, Duration::from_secs(3600)).await.as_deref(), Some("1"));
        let kept = run.handle.kept();
        assert!(kept.failures > 10 && kept.error.unwrap().to_string().contains("memory://a"));
        run.memory.clear_faults();
        run.memory.set("a", [("k", "2")]);
        assert_eq!(version_after(&run, schedule::LONGEST_TEMPORARY).await.as_deref(), Some("2"));
        assert_eq!(run.handle.kept().failures, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_failure_settles_at_a_slow_pace() {
        let memory = Memory::new().without_hints();
        memory.fail_until_cleared(down(ErrorKind::PermissionDenied));
        let run = run(&memory);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let failures = run.handle.kept().failures;
        assert!((60..130).contains(&failures), "{failures} requests in an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_gets_an_answer_from_the_source() {
        let memory = Memory::new().without_hints();
        memory.set("a", [("k", "1")]);
        let run = run(&memory);
        assert_eq!(version_after(&run, Duration::from_millis(1)).await.as_deref(), Some("1"));
        memory.set("a", [("k", "2")]);
        run.handle.refresh(Duration::from_secs(1)).await;
        assert_eq!(run.handle.kept().secret.unwrap().version().as_str(), "2");
    }
}
