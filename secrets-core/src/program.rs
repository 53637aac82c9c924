//! Runs a program: argv without a shell, bounded in time, killed as a group, its output discarded or bounded.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tracing::info;

/// A program to run.
///
/// It gets this process's environment without the variables that hold credentials (`VAULT_*`, `BAO_*`, `AWS_*`) and with what the caller sets;
/// `/dev/null` as its input; and a process group of its own. When the time is over, or the call is dropped, the whole group is killed. What a
/// program that ended in time left running stays: it may be a daemon that it was to start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// Whether the first [`LOGGED`](Self::LOGGED) bytes of its output go to the log; otherwise all of it is discarded.
    pub log_output: bool,
}

/// Why a program did not end well. Nothing of its output is in it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether it was run, and said no; otherwise it could not be run or did not come to its end.
    pub(crate) said_no: bool,
    /// Whether the same call may succeed a moment later.
    pub(crate) temporary: bool,
}

impl Program {
    /// How long a program may run when nothing is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    /// How many bytes of each stream go to the log, at most.
    pub const LOGGED: u64 = 4096;

    /// Runs it with `variables` set.
    ///
    /// # Cancel safety
    /// The program is killed with its group when this is dropped.
    pub(crate) async fn run(&self, variables: &[(&str, &OsStr)]) -> Result<(), Failure> {
        let mut group = Group::start(&mut self.command(variables)).map_err(|error| Failure {
            reason: match error.kind() {
                io::ErrorKind::NotFound => "there is no such program".into(),
                _ => format!("cannot start it: {error}"),
            },
            said_no: false,
            temporary: false,
        })?;
        let ended = tokio::time::timeout(self.timeout, group.wait_and_log(self.log_output.then_some(self)));
        match ended.await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure { reason: describe(status), said_no: true, temporary: true }),
            Ok(Err(error)) => Err(failed(format!("cannot wait for it: {error}"))),
            Err(_) => {
                group.kill();
                // It was killed, and this only reaps it; a process that waits for a broken disk does not even end then.
                tokio::time::timeout(REAPED_WITHIN, group.wait()).await.ok();
                Err(failed(format!("killed after {:?}", self.timeout)))
            }
        }
    }

    fn command(&self, variables: &[(&str, &OsStr)]) -> Command {
        let (program, arguments) =
            self.command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
        let output = || if self.log_output { Stdio::piped() } else { Stdio::null() };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output()).stderr(output()).process_group(0);
        for (name, _) in std::env::vars_os() {
            if HELD_BACK.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().copied());
        command
    }
}

impl fmt::Display for Program {
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

    /// Waits, and logs the beginning of what was written until then. A daemon that keeps a stream open is not waited for.
    async fn wait_and_log(&mut self, program: Option<&Program>) -> io::Result<ExitStatus> {
        let Some(program) = program else { return self.wait().await };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let status = {
            let reading = async { tokio::join!(beginning(stdout, &mut out), beginning(stderr, &mut err)) };
            tokio::pin!(reading);
            tokio::select! {
                status = self.wait() => {
                    // What was written before the end is in the pipe already.
                    tokio::time::timeout(FLUSHED_WITHIN, reading).await.ok();
                    status
                }
                _ = &mut reading => self.wait().await,
            }
        };
        for (stream, bytes) in [("stdout", out), ("stderr", err)] {
            if !bytes.is_empty() {
                let output = String::from_utf8_lossy(&bytes);
                info!(program = %program, stream, output = output.trim_end(), "output of a program");
            }
        }
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

const FLUSHED_WITHIN: Duration = Duration::from_millis(100);

/// Reads to the end, so that the writer never waits, and keeps the beginning.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    if let Some(mut stream) = stream {
        // A stream that breaks has told what there was to tell.
        (&mut stream).take(Program::LOGGED).read_to_end(kept).await.ok();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    }
}

fn failed(reason: String) -> Failure {
    Failure { reason, said_no: false, temporary: true }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "ended in an unknown way".into(),
    }
}
