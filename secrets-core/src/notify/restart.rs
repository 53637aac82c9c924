//! Asks whoever supervises the application to restart it.

use std::fmt;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Event;
use crate::error::{Error, ErrorKind, Result};

/// A restart of the application, by the program that is its parent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Restart {
    /// How long the application has to end by itself; the supervisor's own setting when it is left out.
    pub grace: Option<Duration>,
    /// Who restarts it; nobody as the configuration is read.
    pub(crate) supervisor: Option<Supervisor>,
}

/// Reaches the supervisor of the application. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor(mpsc::Sender<RestartRequest>);

/// What a supervisor is asked for.
#[derive(Debug)]
pub struct RestartRequest {
    /// How long the application has to end by itself, where the configuration says so.
    pub grace: Option<Duration>,
    /// Why, in words for a log.
    pub reason: String,
    /// Where to say, in words for a log, what was done, once the application runs with what it is restarted for. Dropped, it says that there will be no
    /// restart.
    pub answer: oneshot::Sender<String>,
}

impl Restart {
    /// Makes a restart with that grace, by nobody yet.
    pub fn new(grace: Option<Duration>) -> Self {
        Self { grace, supervisor: None }
    }

    pub(super) async fn ask(&self, event: &Event) -> Result<String> {
        let supervisor = self.supervisor.as_ref().ok_or_else(unsupervised)?;
        let reason = format!("the delivery {} has a new generation", event.delivery);
        let (answer, answered) = oneshot::channel();
        let request = RestartRequest { grace: self.grace, reason, answer };
        if supervisor.0.send(request).await.is_err() {
            return Err(gone());
        }
        answered.await.map_err(|_| gone())
    }
}

impl Supervisor {
    /// Makes a supervisor's address, and the end at which the requests arrive.
    pub fn channel() -> (Self, mpsc::Receiver<RestartRequest>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Returns the address of nobody: for a configuration that is looked at and not run.
    pub fn absent() -> Self {
        Self::channel().0
    }

    /// Tells whether nobody is there any more, or never was.
    pub fn is_absent(&self) -> bool {
        self.0.is_closed()
    }
}

impl PartialEq for Supervisor {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for Supervisor {}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("restart")
    }
}

/// Says that nobody here is the application's parent.
pub(crate) fn unsupervised() -> Error {
    Error::config("start", "`restart` in `on_change` works only under `keywheel run`")
        .with_help("start the application as `keywheel run --config FILE -- COMMAND`, or tell it by `signal`")
}

fn gone() -> Error {
    Error::new(ErrorKind::Notify, "restart", "the command has ended, or is ending").with_temporary(true)
}

/// One for each delivery is plenty: a supervisor takes them at once.
const WAITING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            delivery: "orders".into(),
            directory: "/run/orders".into(),
            generation: "1".into(),
            versions: [].into(),
        }
    }

    #[tokio::test]
    async fn a_supervisor_is_asked_and_its_answer_told() {
        let (supervisor, mut requests) = Supervisor::channel();
        let restart = Restart { grace: Some(Duration::from_secs(3)), supervisor: Some(supervisor) };
        let event = event();
        let supervise = async {
            let request = requests.recv().await.unwrap();
            assert_eq!(request.grace, Some(Duration::from_secs(3)));
            assert!(request.reason.contains("orders"), "{}", request.reason);
            request.answer.send("process 7".into()).unwrap();
            drop(requests.recv().await.unwrap());
        };
        let ask = async {
            assert_eq!(restart.ask(&event).await.unwrap(), "process 7");
            let refused = restart.ask(&event).await.unwrap_err();
            assert!(refused.is_temporary() && refused.kind() == ErrorKind::Notify, "{refused}");
        };
        tokio::join!(supervise, ask);
    }

    #[tokio::test]
    async fn nobody_restarts_nothing() {
        let error = Restart::new(None).ask(&event()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let absent = Restart { grace: None, supervisor: Some(Supervisor::absent()) };
        assert_eq!(absent.ask(&event()).await.unwrap_err().kind(), ErrorKind::Notify);
    }
}
