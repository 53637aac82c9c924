//! Sends a signal to the processes of a name, or to the one whose number is in a file.
//!
//! A PID alone is never trusted, since it may be another process's by the time the signal is sent: the process is opened as a pidfd first
//! (`pidfd_open(2)`), its name is checked after that, and the signal goes to the pidfd.

use std::fmt;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

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

const SIGNALS: [(&str, rustix::process::Signal); 12] = {
    use rustix::process::Signal as S;
    [
        ("HUP", S::HUP),
        ("INT", S::INT),
        ("QUIT", S::QUIT),
        ("KILL", S::KILL),
        ("USR1", S::USR1),
        ("USR2", S::USR2),
        ("ALRM", S::ALARM),
        ("TERM", S::TERM),
        ("CONT", S::CONT),
        ("STOP", S::STOP),
        ("WINCH", S::WINCH),
        ("URG", S::URG),
    ]
};

fn names() -> String {
    SIGNALS.map(|(name, _)| format!("SIG{name}")).join(", ")
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

    fn send_now(&self) -> Result<String> {
        let processes = match &self.target {
            Target::Process(name) => self.find(name)?,
            Target::PidFile(path) => vec![self.open_from_file(path)?],
        };
        let mut sent = Vec::new();
        for (pid, process) in processes {
            match pidfd_send_signal(&process, self.number.0) {
                Ok(()) => sent.push(pid.as_raw_nonzero().to_string()),
                Err(Errno::SRCH) => {}
                Err(Errno::PERM) => {
                    let help =
                        "run Keywheel as the user of the application; in a pod with shareProcessNamespace";
                    return Err(self
                        .failed(format!("process {} belongs to another user", pid.as_raw_nonzero()))
                        .with_help(help));
                }
                Err(errno) => return Err(self.failed(format!("process {}: {errno}", pid.as_raw_nonzero()))),
            }
        }
        match sent.is_empty() {
            true => Err(self.nobody()),
            false => Ok(format!("process {}", sent.join(", "))),
        }
    }

    fn find(&self, name: &str) -> Result<Vec<(Pid, OwnedFd)>> {
        let entries =
            fs::read_dir("/proc").map_err(|error| self.failed(format!("cannot list /proc: {error}")))?;
        let pids = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw);
        let own = rustix::process::getpid();
        let found = pids.filter(|pid| *pid != own && is_named(*pid, name)).filter_map(|pid| {
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // The name is read again: what was named so may have ended, and another process have taken its number.
            is_named(pid, name).then_some((pid, process))
        });
        Ok(found.collect())
    }

    fn open_from_file(&self, path: &Path) -> Result<(Pid, OwnedFd)> {
        let text = read_bounded(path, 64)
            .map_err(|error| self.failed(format!("cannot read the PID file: {error}")))?;
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let pid = number.filter(|number| *number > 1).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| self.failed("the PID file does not hold the number of a process"))?;
        if pid == rustix::process::getpid() {
            return Err(self
                .failed("the PID file holds the number of Keywheel itself")
                .with_temporary(false));
        }
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Ok((pid, process)),
            Err(Errno::SRCH) => Err(self.nobody()),
            Err(errno) => Err(self.failed(format!("process {}: {errno}", pid.as_raw_nonzero()))),
        }
    }

    fn nobody(&self) -> Error {
        self.failed("there is no such process")
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Notify, "signal", reason).with("notifier", self).with_temporary(true)
    }
}

/// Tells whether a process has the name: by `comm` (of which the kernel keeps 15 bytes), or by the file name of its program.
fn is_named(pid: Pid, name: &str) -> bool {
    const KEPT: usize = 15;
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let comm = read_bounded(&folder.join("comm"), 64).unwrap_or_default();
    if comm.strip_suffix(b"\n").unwrap_or(&comm) == &name.as_bytes()[..name.len().min(KEPT)]
        && name.len() <= KEPT
    {
        return true;
    }
    let command = read_bounded(&folder.join("cmdline"), 4096).unwrap_or_default();
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    program.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes()) && !name.is_empty()
}

fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
