//! Sends a signal to the processes of a name, or to the one whose number is in a file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::io::Errno;

use super::process::{self, Process};
use crate::error::{Error, ErrorKind, Result};

/// A signal and whom it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signal {
    /// Whom.
    pub target: Target,
    /// Which.
    pub number: SignalNumber,
}

/// Whom a signal is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// Every process of that name: as `ps -o comm` shows it, or the file name of its program. Never this process.
    Process(String),
    /// Of the processes of that name the one that began first: the master of its workers, as a rule.
    Oldest(String),
    /// The process whose number is in the file.
    PidFile(PathBuf),
}

/// A signal by its name.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct SignalNumber(rustix::process::Signal);

/// Why a text is not a signal's name.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a signal that can be sent; known: {known}", known = names())]
pub struct SignalNameError(String);

impl FromStr for SignalNumber {
    type Err = SignalNameError;

    /// Takes `SIGHUP`, `HUP` or `hup`.
    fn from_str(text: &str) -> Result<Self, SignalNameError> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = SIGNALS.iter().find(|(known, _)| *known == name);
        known.map(|(_, signal)| Self(*signal)).ok_or_else(|| SignalNameError(text.chars().take(40).collect()))
    }
}

/// The signals of signal(7) that one process has a reason to send another; those that say what the receiver itself did wrong are not among them.
const SIGNALS: [(&str, rustix::process::Signal); 21] = {
    use rustix::process::Signal as S;
    [
        ("HUP", S::HUP),
        ("INT", S::INT),
        ("QUIT", S::QUIT),
        ("ABRT", S::ABORT),
        ("KILL", S::KILL),
        ("USR1", S::USR1),
        ("USR2", S::USR2),
        ("PIPE", S::PIPE),
        ("ALRM", S::ALARM),
        ("TERM", S::TERM),
        ("CHLD", S::CHILD),
        ("CONT", S::CONT),
        ("STOP", S::STOP),
        ("TSTP", S::TSTP),
        ("URG", S::URG),
        ("XCPU", S::XCPU),
        ("VTALRM", S::VTALARM),
        ("PROF", S::PROF),
        ("WINCH", S::WINCH),
        ("IO", S::IO),
        ("PWR", S::POWER),
    ]
};

fn names() -> String {
    SIGNALS.map(|(name, _)| format!("SIG{name}")).join(", ")
}

impl SignalNumber {
    /// Returns its number on this system.
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }
}

impl fmt::Display for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SIGNALS.iter().find(|(_, signal)| *signal == self.0).map_or("?", |(name, _)| name);
        write!(f, "SIG{name}")
    }
}

impl fmt::Debug for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Process(name) => write!(f, "{} to {name}", self.number),
            Target::Oldest(name) => write!(f, "{} to the oldest {name}", self.number),
            Target::PidFile(path) => write!(f, "{} by {}", self.number, path.display()),
        }
    }
}

impl Signal {
    pub(super) async fn send(&self) -> Result<String> {
        let signal = self.clone();
        match tokio::task::spawn_blocking(move || signal.send_now()).await {
            Ok(sent) => sent,
            Err(_) => Err(self.failed("sending was interrupted")),
        }
    }

    pub(super) fn send_now(&self) -> Result<String> {
        self.to_each(|process| process.send(self.number.0))
    }

    /// Finds whom the signal is for, and whether they may be sent it; sends none.
    pub(super) fn examine(&self) -> Result<String> {
        self.to_each(Process::may_be_told)
    }

    /// Does `act` to all whom the signal is for, and says who that was.
    fn to_each(&self, act: impl Fn(&Process) -> Result<(), Errno>) -> Result<String> {
        let processes = match &self.target {
            Target::Process(name) => self.named(name)?,
            Target::Oldest(name) => {
                self.named(name)?.into_iter().min_by_key(Process::age_rank).into_iter().collect()
            }
            Target::PidFile(path) => self.by_file(path)?.into_iter().collect(),
        };
        let mut told = Vec::new();
        let mut refused = None;
        for process in processes {
            match act(&process) {
                Ok(()) => told.push(process.pid().to_string()),
                Err(Errno::SRCH) => {}
                // The others are told all the same.
                Err(errno) => refused = Some((process.pid(), errno)),
            }
        }
        match refused {
            Some((pid, Errno::PERM)) => Err(self
                .failed(format!("process {pid} belongs to another user"))
                .with_temporary(false)
                .with_help(
                    "run Keywheel as the user of the application; in a pod, with shareProcessNamespace",
                )),
            Some((pid, errno)) => Err(self.failed(format!("process {pid}: {errno}"))),
            None if told.is_empty() => Err(self.nobody()),
            None if told.len() == 1 => Ok(format!("process {}", told[0])),
            None => Ok(format!("{} processes: {}", told.len(), told.join(", "))),
        }
    }

    fn named(&self, name: &str) -> Result<Vec<Process>> {
        Process::named(name).map_err(|error| self.failed(format!("cannot look for processes: {error}")))
    }

    fn by_file(&self, path: &Path) -> Result<Option<Process>> {
        let pid = process::read_pid(path).map_err(|reason| self.failed(reason))?;
        if pid == rustix::process::getpid() {
            let error = self.failed("the PID file holds the number of Keywheel itself");
            return Err(error.with_temporary(false));
        }
        match Process::open(pid) {
            // It may have been written anew, and the number be another process's.
            Ok(process) if process::read_pid(path) == Ok(pid) => Ok(Some(process)),
            Ok(_) => Err(self.failed("the PID file changes")),
            // `EINVAL` is the number of a thread.
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(errno) => Err(self.failed(format!("process {}: {errno}", pid.as_raw_nonzero()))),
        }
    }

    fn nobody(&self) -> Error {
        let error = match &self.target {
            Target::Process(name) | Target::Oldest(name) => {
                self.failed(format!("there is no process named {name:?}"))
            }
            Target::PidFile(_) => self.failed("there is no process of the number in the PID file"),
        };
        error.with_help("is the application running, and, in a pod, does it have shareProcessNamespace?")
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Notify, "signal", reason).with("notifier", self).with_temporary(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_that_kill_takes() {
        for (text, shown) in [
            ("SIGHUP", "SIGHUP"),
            ("HUP", "SIGHUP"),
            ("hup", "SIGHUP"),
            ("sigUsr1", "SIGUSR1"),
            ("WINCH", "SIGWINCH"),
        ] {
            assert_eq!(text.parse::<SignalNumber>().unwrap().to_string(), shown);
        }
        for (name, _) in SIGNALS {
            assert_eq!(name.parse::<SignalNumber>().unwrap().to_string(), format!("SIG{name}"));
        }
        for bad in ["", "SIG", "1", "SIGSIGHUP", "SEGV", "HUP ", "SIGRTMIN"] {
            let error = bad.parse::<SignalNumber>().unwrap_err().to_string();
            assert!(error.contains("known: SIGHUP, SIGINT"), "{error}");
        }
    }
}
