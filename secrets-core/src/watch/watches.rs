//! All secrets that a client has kept fresh.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use super::tended::{Tended, tend};
use crate::client::{Client, Providers};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{Keepers, Pace};
use crate::provider::Ending;
use crate::reference::SecretRef;
use crate::state::State;

/// Which secrets are kept fresh, and what there is to end with them.
pub(crate) struct Watches {
    providers: Arc<Providers>,
    clock: Clock,
    state: State,
    refresh: Duration,
    ending: watch::Sender<Ending>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    kept: HashMap<SecretRef, Entry>,
    sessions: Option<Sessions>,
    is_closed: bool,
}

/// Keeps the providers' sessions alive since the first secret is watched.
struct Sessions {
    task: JoinHandle<()>,
    /// Where what is watched runs, and is ended.
    runtime: Handle,
}

struct Entry {
    tended: Weak<Tended>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Watches {
    pub(crate) fn new(providers: Arc<Providers>, clock: Clock, state: State, refresh: Duration) -> Self {
        let (ending, _) = watch::channel(Ending::Revoke);
        Self { providers, clock, state, refresh, ending, open: Mutex::default() }
    }

    /// Returns the secret that `reference` is about, kept fresh since somebody watches it, or from now on.
    pub(crate) fn tended(&self, client: &Client, reference: &SecretRef) -> Result<Arc<Tended>> {
        let whole = reference.whole();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_closed {
            return Err(
                Error::new(ErrorKind::Unavailable, "watch", "the client is closed").with_temporary(false)
            );
        }
        let alive = open.kept.get(&whole).filter(|entry| !entry.task.is_finished());
        if let Some(tended) = alive.and_then(|entry| entry.tended.upgrade()) {
            return Ok(tended);
        }
        let pace = Pace { refresh: self.refresh, overlap: MOVING_OVER };
        let mut keepers = Keepers::new(&self.clock);
        let handle = keepers.keep(client, &whole, pace, &self.state)?;
        let provider = Arc::clone(client.provider(&whole)?);
        open.kept.retain(|other, entry| *other == whole || !entry.task.is_finished());
        let before = open.kept.remove(&whole).map(|entry| entry.task);
        let (stop, stopped) = watch::channel(false);
        let task =
            tokio::spawn(tend(keepers, handle.clone(), provider, before, stopped, self.ending.subscribe()));
        let tended = Arc::new(Tended::new(handle, stop.clone()));
        open.kept.insert(whole, Entry { tended: Arc::downgrade(&tended), stop, task });
        if open.sessions.as_ref().is_none_or(|sessions| sessions.task.is_finished()) {
            let providers = Arc::clone(&self.providers);
            let task = tokio::spawn(async move { providers.maintain().await });
            open.sessions = Some(Sessions { task, runtime: Handle::current() });
        }
        Ok(tended)
    }

    /// Ends everything that is watched, now and from now on; waits for it for at most `limit`.
    pub(crate) async fn end(&self, ending: Ending, limit: Duration) {
        self.ending.send_replace(ending);
        self.stop().join(limit).await;
    }

    fn stop(&self) -> Stopping {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_closed = true;
        let stop = |entry: Entry| {
            entry.stop.send_replace(true);
            entry.task
        };
        Stopping {
            tasks: open.kept.drain().map(|(_, entry)| stop(entry)).collect(),
            sessions: open.sessions.take(),
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let stopping = self.stop();
        // Wherever the last clone is dropped. Of a runtime that is gone nothing is left that could be ended.
        if let Some(runtime) = stopping.sessions.as_ref().map(|sessions| sessions.runtime.clone()) {
            let providers = Arc::clone(&self.providers);
            runtime.spawn(async move {
                stopping.join(Client::CLOSE).await;
                providers.close(Ending::Revoke, Client::CLOSE).await;
            });
        }
    }
}

/// What was told to end.
struct Stopping {
    tasks: Vec<JoinHandle<()>>,
    sessions: Option<Sessions>,
}

impl Stopping {
    /// Waits until all have ended, and ends those that have not after `limit`.
    async fn join(mut self, limit: Duration) {
        let all = async {
            for task in &mut self.tasks {
                // That one has panicked, its watchers see.
                task.await.ok();
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            warn!(after = ?limit, "a secret that is watched did not come to its end in time; its lease ends by itself");
            self.tasks.iter().for_each(JoinHandle::abort);
        }
        // The leases were given back with the sessions that they were made in.
        if let Some(Sessions { task, .. }) = self.sessions {
            task.abort();
            task.await.ok();
        }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(open.kept.keys().map(|reference| format!("{reference}"))).finish()
    }
}

/// How long before its end a value is replaced at least, but never with more than a third of its life to go: those who use it have to move over. The old one goes
/// when all have confirmed.
const MOVING_OVER: Duration = Duration::from_secs(10);
