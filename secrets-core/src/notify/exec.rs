//! Runs a program: argv without a shell, bounded in time, killed as a group, its output discarded.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::Event;
use crate::error::{Error, ErrorKind, Result};

/// A program to run after a change.
///
/// It gets this process's environment without the variables that hold credentials (`VAULT_*`, `BAO_*`, `AWS_*`) and with `KEYWHEEL_DELIVERY`,
/// `KEYWHEEL_DIRECTORY` and `KEYWHEEL_GENERATION`; `/dev/null` as its input and output; and a process group of its own. When the time is over, or the
/// call is dropped, the whole group is killed. What a program that ended in time left running stays: it may be a daemon that it was to start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exec {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
}

impl Exec {
    pub(super) async fn run(&self, event: &Event) -> Result<String> {
        let mut group = Group::start(&mut self.command(event)).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "there is no such program".into(),
                _ => format!("cannot start it: {error}"),
            };
            self.failed(reason).with_temporary(false)
        })?;
        match tokio::time::timeout(self.timeout, group.wait()).await {
            Ok(Ok(status)) if status.success() => Ok("ended well".into()),
            Ok(Ok(status)) => Err(self.failed(describe(status))),
            Ok(Err(error)) => Err(self.failed(format!("cannot wait for it: {error}"))),
            Err(_) => {
                group.kill();
                // It was killed, and this only reaps it; a process that waits for a broken disk does not even end then.
                tokio::time::timeout(REAPED_WITHIN, group.wait()).await.ok();
                Err(self.failed(format!("killed after {:?}", self.timeout)))
            }
        }
    }

    fn command(&self, event: &Event) -> Command {
        let (program, arguments) =
            self.command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            if HELD_BACK.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
                command.env_remove(name);
            }
        }
        command
            .env("KEYWHEEL_DELIVERY", &event.delivery)
            .env("KEYWHEEL_DIRECTORY", &event.directory)
            .env("KEYWHEEL_GENERATION", &event.generation);
        command
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Notify, "run hook", reason).with("notifier", self).with_temporary(true)
    }
}

impl fmt::Display for Exec {
    /// Names the program alone: its arguments are the user's, and may say more than a log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.first().map_or("", String::as_str))
    }
}

const REAPED_WITHIN: Duration = Duration::from_secs(5);

/// The beginnings of the names of variables that hold credentials, or that are ours to set.
const HELD_BACK: [&str; 4] = ["VAULT_", "BAO_", "AWS_", "KEYWHEEL_"];

/// A child and whatever it starts; killed when this is dropped before the child was reaped, for until then its number is its own.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Self { child, leader })
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.leader = None;
        status
    }

    fn kill(&self) {
        if let Some(leader) = self.leader {
            // It may have ended already, which is what is wanted.
            kill_process_group(leader, Signal::KILL).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "ended in an unknown way".into(),
    }
}
