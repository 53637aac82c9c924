//! Waiting until everything is there for the first time.

use std::time::Duration;

use futures_util::future::select_all;
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
    pub async fn wait(mut self, limit: Duration) -> Result<()> {
        let deadline = self.clock.instant() + limit;
        loop {
            if self.is_over() {
                return Ok(());
            }
            let failures = self.failures();
            if let Some(permanent) = failures.iter().find(|error| !error.is_temporary()) {
                return Err(permanent.clone());
            }
            let clock = self.clock.clone();
            tokio::select! {
                () = self.changed() => {}
                () = clock.sleep_until(deadline) => return Err(failures.into_iter().next().unwrap_or_else(|| late(limit))),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.deliveries.iter().all(|(state, _)| state.borrow().generation.is_some())
            && self.beside.iter().all(|handle| handle.revision() > 0)
    }

    /// Returns why what is not there yet is not there.
    fn failures(&self) -> Vec<Error> {
        let missing = self.deliveries.iter().filter(|(state, _)| state.borrow().generation.is_none());
        let of_delivery = |(state, inputs): &(watch::Receiver<State>, Vec<KeeperHandle>)| {
            let of_inputs = inputs.iter().filter_map(|handle| handle.kept().error);
            state.borrow().error.clone().into_iter().chain(of_inputs).collect::<Vec<_>>()
        };
        let beside = self.beside.iter().filter(|handle| handle.revision() == 0);
        missing.flat_map(of_delivery).chain(beside.filter_map(|handle| handle.kept().error)).collect()
    }

    async fn changed(&mut self) {
        let states = self.deliveries.iter_mut().map(|(state, inputs)| {
            let inputs = inputs.iter_mut().map(|handle| Box::pin(handle.changed()));
            Box::pin(async {
                tokio::select! {
                    // The engine has ended, which whoever runs it sees.
                    changed = state.changed() => if changed.is_err() { std::future::pending().await },
                    () = any(inputs.collect()) => {}
                }
            })
        });
        let beside = self.beside.iter_mut().map(|handle| Box::pin(handle.changed()));
        tokio::select! {
            () = any(states.collect()) => {}
            () = any(beside.collect()) => {}
        }
    }
}

/// Waits for the first of them; for ever when there are none.
async fn any<F: Future<Output = ()> + Unpin>(futures: Vec<F>) {
    match futures.is_empty() {
        true => std::future::pending().await,
        false => drop(select_all(futures).await),
    }
}

fn late(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "start", format!("the secrets were not there within {limit:?}"))
        .with_help("does the server answer?")
}
