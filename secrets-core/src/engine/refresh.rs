//! Fetching and delivering at once, because somebody asks for it.

use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::delivery::{Input, State};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::KeeperHandle;

/// Has deliveries made at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RefreshHandle {
    deliveries: Vec<(String, mpsc::Sender<Answer>)>,
}

/// What came of it for one delivery.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refreshed {
    /// The delivery's name.
    pub name: String,
    /// The generation that readers see now.
    pub generation: Option<String>,
    /// Why that is not the newest, or who could not be told or asked; never with a value in it.
    pub error: Option<String>,
}

pub(super) type Answer = oneshot::Sender<(Option<String>, Option<Error>)>;

/// Where a delivery hears that it is to be made at once.
#[derive(Debug)]
pub(super) struct Asked {
    requests: mpsc::Receiver<Answer>,
    waiting: Vec<Answer>,
}

/// How long the sources may take to answer.
const WITHIN: Duration = Duration::from_secs(10);

impl RefreshHandle {
    pub(super) fn new(deliveries: Vec<(String, mpsc::Sender<Answer>)>) -> Self {
        Self { deliveries }
    }

    /// Has the sources of the deliveries of these names (of all, when there are none) asked and what is new delivered and told; waits for
    /// that for at most `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a name that no delivery has. What fails of a delivery is told in its [`Refreshed`].
    pub async fn refresh(&self, names: &[String], limit: Duration) -> Result<Vec<Refreshed>> {
        let known = |name: &String| self.deliveries.iter().any(|(known, _)| known == name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let known: Vec<&str> = self.deliveries.iter().map(|(name, _)| name.as_str()).collect();
            let reason = format!("there is no delivery {unknown:?}; known: {}", known.join(", "));
            return Err(Error::new(ErrorKind::NotFound, "refresh", reason));
        }
        let wanted = self.deliveries.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
        Ok(join_all(wanted.map(|(name, delivery)| ask(name, delivery, limit))).await)
    }
}

async fn ask(name: &str, delivery: &mpsc::Sender<Answer>, limit: Duration) -> Refreshed {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        delivery.send(answer).await.ok()?;
        answered.await.ok()
    };
    let (generation, error) = match tokio::time::timeout(limit, asked).await {
        Ok(Some((generation, error))) => (generation, error.map(|error| error.to_string())),
        Ok(None) => (None, Some("the delivery has ended".into())),
        Err(_) => (None, Some(format!("it is not finished after {limit:?}; it goes on"))),
    };
    Refreshed { name: name.into(), generation, error }
}

/// Asks the sources of several secrets now, and waits until they have answered or `limit` has passed.
pub async fn refresh_all(handles: impl IntoIterator<Item = &KeeperHandle>, limit: Duration) {
    join_all(handles.into_iter().map(|handle| handle.refresh(limit))).await;
}

impl Asked {
    pub(super) fn channel() -> (mpsc::Sender<Answer>, Self) {
        let (sender, requests) = mpsc::channel(16);
        (sender, Self { requests, waiting: Vec::new() })
    }

    /// Waits until somebody asks; who that is, is told at the next [`answer`](Self::answer).
    ///
    /// # Cancel safety
    /// Nobody who asked is forgotten when this is dropped.
    pub(super) async fn recv(&mut self) {
        match self.requests.recv().await {
            Some(answer) => self.waiting.push(answer),
            None => std::future::pending().await,
        }
    }

    /// Has the sources of `inputs` asked, and waits for their answers.
    pub(super) async fn fetch(inputs: impl Iterator<Item = &Input>) {
        refresh_all(inputs.map(|input| &input.handle), WITHIN).await;
    }

    /// Tells everybody who waits what came of it.
    pub(super) fn answer<'a>(&mut self, state: &State, inputs: impl Iterator<Item = &'a Input>) {
        if self.waiting.is_empty() {
            return;
        }
        let error =
            state.error.clone().or_else(|| inputs.filter_map(|input| input.handle.kept().error).next());
        for answer in self.waiting.drain(..) {
            // Whoever asked may have stopped waiting.
            answer.send((state.generation.clone(), error.clone())).ok();
        }
    }
}
