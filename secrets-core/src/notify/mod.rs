//! Telling the application that another generation is visible.

mod process;
mod restart;
mod rollout;
mod signal;

use std::fmt;
use std::path::PathBuf;

pub(crate) use self::restart::unsupervised;
pub use self::restart::{Restart, RestartRequest, Supervisor};
pub(crate) use self::rollout::no_cluster;
pub use self::rollout::{Cluster, Mark, Rollout, Rollouts, Workload, WorkloadKind};
pub use self::signal::{Signal, SignalNameError, SignalNumber, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::http::Request;
use crate::program::Program;
use crate::transaction::Versions;

/// What there is to tell: which delivery has which generation now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The delivery's name.
    pub delivery: String,
    /// Its directory; of a generation that is not visible yet, its folder.
    pub directory: PathBuf,
    /// The name of the generation.
    pub generation: String,
    /// The versions of the secrets in its files.
    pub versions: Versions,
}

/// One way to tell the application.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notifier {
    /// Sends a signal.
    Signal(Signal),
    /// Runs a program.
    Exec(Program),
    /// Makes an HTTP request, which has to be answered with a success (2xx).
    Http(Request),
    /// Has the application restarted by its supervisor.
    Restart(Restart),
    /// Has the cluster replace the application's pods.
    Rollout(Rollout),
}

impl Notifier {
    /// Tells, and returns what was done, in words for a log.
    ///
    /// # Errors
    /// [`ErrorKind::Notify`], temporary where somebody may be there to be told a moment later.
    ///
    /// # Cancel safety
    /// A program that runs is killed with its group when this is dropped.
    pub async fn notify(&self, event: &Event) -> Result<String> {
        match self {
            Self::Signal(signal) => signal.send().await,
            Self::Exec(program) => {
                program.run(event).await.map(|()| "ended well".into()).map_err(|failure| {
                    Error::new(ErrorKind::Notify, "run hook", failure.reason)
                        .with("notifier", self)
                        .with_temporary(failure.temporary)
                })
            }
            Self::Http(request) => {
                let status = request.send().await.map_err(|reason| self.unreached(reason))?;
                match status {
                    200..=299 => Ok(format!("answered {status}")),
                    _ => Err(self.unreached(format!("it answered {status}"))),
                }
            }
            Self::Restart(restart) => restart.ask(event).await,
            Self::Rollout(rollout) => rollout.ask(event).await,
        }
    }

    /// Looks whether there is somebody to tell, without telling; none where only telling would show it.
    ///
    /// # Errors
    /// As for [`notify`](Self::notify).
    pub fn examine(&self) -> Option<Result<String>> {
        match self {
            Self::Signal(signal) => Some(signal.examine()),
            _ => None,
        }
    }

    fn unreached(&self, reason: String) -> Error {
        Error::new(ErrorKind::Notify, "send request", reason).with("notifier", self).with_temporary(true)
    }
}

impl fmt::Display for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Exec(program) => program.fmt(f),
            Self::Http(request) => request.fmt(f),
            Self::Restart(restart) => restart.fmt(f),
            Self::Rollout(rollout) => rollout.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
