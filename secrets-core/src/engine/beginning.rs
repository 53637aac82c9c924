//! Waiting until everything is there for the first time.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::delivery::State;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::KeeperHandle;

/// Sees whether each delivery has its first generation, and each secret beside them its first value. Made by
/// [`Engine::beginning`](super::Engine::beginning).
#[derive(Debug)]
pub struct Beginning {
    pub(super) deliveries: Vec<(watch::Receiver<State>, Vec<KeeperHandle>)>,
    pub(super) beside: Vec<KeeperHandle>,
    pub(super) clock: Clock,
}

impl Beginning {
    /// Waits until everything is there, while the engine runs.
    ///
    /// # Errors
    /// The first failure that only an edit elsewhere can mend; or, after `limit`, the last one that was tried again until then.
    pub async fn wait(self, limit: Duration) -> Result<()> {
        let deadline = self.clock.instant() + limit;
        let deliveries =
            try_join_all(self.deliveries.iter().cloned().map(|(state, inputs)| delivered(state, inputs)));
        let beside = try_join_all(self.beside.iter().cloned().map(read));
        tokio::select! {
            done = async { tokio::try_join!(deliveries, beside) } => done.map(drop),
            () = self.clock.sleep_until(deadline) => Err(self.failures().next().unwrap_or_else(|| late(limit))),
        }
    }

    /// Returns why what is not there yet is not there.
    fn failures(&self) -> impl Iterator<Item = Error> {
        let missing = self.deliveries.iter().filter(|(state, _)| state.borrow().generation.is_none());
        let of_delivery = |(state, inputs): &(watch::Receiver<State>, Vec<KeeperHandle>)| {
            let of_inputs = inputs.iter().filter_map(|handle| handle.kept().error);
            state.borrow().error.clone().into_iter().chain(of_inputs).collect::<Vec<_>>()
        };
        let beside = self.beside.iter().filter(|handle| handle.revision() == 0);
        missing.flat_map(of_delivery).chain(beside.filter_map(|handle| handle.kept().error))
    }
}

/// Waits for the first generation of a delivery, or a permanent failure of it or of one of its secrets.
async fn delivered(state: watch::Receiver<State>, inputs: Vec<KeeperHandle>) -> Result<()> {
    // Each is looked at when it has changed, and not all of them whenever one has.
    let mut failing: FuturesUnordered<_> = inputs.into_iter().map(failed).collect();
    tokio::select! {
        biased;
        made = made(state) => made,
        Some(error) = failing.next() => Err(error),
    }
}

async fn made(mut state: watch::Receiver<State>) -> Result<()> {
    let is_known = |state: &State| state.generation.is_some() || permanent(state.error.as_ref()).is_some();
    match state.wait_for(is_known).await {
        Ok(state) if state.generation.is_some() => Ok(()),
        Ok(state) => permanent(state.error.as_ref()).map_or(Ok(()), Err),
        // The engine has ended, which whoever runs it sees.
        Err(_) => std::future::pending().await,
    }
}

async fn failed(mut handle: KeeperHandle) -> Error {
    loop {
        if let Some(error) = permanent(handle.kept().error.as_ref()) {
            return error;
        }
        handle.changed().await;
    }
}

/// Waits for the first value of a secret, or a permanent failure.
async fn read(mut handle: KeeperHandle) -> Result<()> {
    loop {
        let kept = handle.kept();
        match permanent(kept.error.as_ref()) {
            _ if kept.revision > 0 => return Ok(()),
            Some(error) => return Err(error),
            None => handle.changed().await,
        }
    }
}

fn permanent(error: Option<&Error>) -> Option<Error> {
    error.filter(|error| !error.is_temporary()).cloned()
}

fn late(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "start", format!("the secrets were not there within {limit:?}"))
        .with_help("does the server answer?")
}
