//! Runs a program: argv without a shell, bounded in time, killed as a group, its output discarded or bounded.

mod ask;
pub mod channel;
mod group;
mod guard;
mod runner;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tracing::info;

use self::group::{Group, Output};
pub use self::guard::{Guard, serve as serve_guard};
pub(crate) use self::runner::Assigned;
pub use self::runner::{Call, Listed, Programs, Runner};
use crate::deliver::is_generation;
use crate::notify::Event;

/// A program to run.
///
/// It gets this process's environment without the variables that hold credentials (`VAULT_*`, `BAO_*`, `AWS_*`, `OTEL_EXPORTER_OTLP_*`) and with what it runs for
/// (`KEYWHEEL_DELIVERY`, `KEYWHEEL_DIRECTORY`, `KEYWHEEL_GENERATION`); `/dev/null` as its input; and a process group of its own. When the time is
/// over, or the call is dropped, the whole group is killed. What a program that ended in time left running stays: it may be a daemon that it was
/// to start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Program {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// Whether the first [`LOGGED`](Self::LOGGED) bytes of its output go to the log; otherwise all of it is discarded.
    pub log_output: bool,
    /// Whether `{directory}` in its arguments stands for the folder that it runs for.
    pub names_directory: bool,
    /// What kills it when this process is killed; nothing, as the configuration is read. It is for what is [asked](Self::ask).
    #[serde(skip)]
    pub guard: Option<Guard>,
    /// Who runs it; this process, as the configuration is read.
    #[serde(skip)]
    pub(crate) assigned: Option<Assigned>,
}

/// What a program runs for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Occasion {
    /// The delivery's name.
    pub delivery: String,
    /// The folder with the files.
    pub directory: PathBuf,
    /// The name of the generation that they are of.
    pub generation: String,
}

/// How a run came to its end.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Ended {
    failure: Option<Failure>,
    output: Output,
}

/// Why a program did not end well. Nothing of its output is in it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// The code that it ended with.
    pub code: Option<i32>,
    /// Whether it was run, and said no; otherwise it could not be run or did not come to its end.
    pub said_no: bool,
    /// Whether the same call may succeed a moment later.
    pub temporary: bool,
}

impl Program {
    /// How long a program may run when nothing is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    /// How many bytes of each stream go to the log, at most.
    pub const LOGGED: u64 = 4096;
    /// How many bytes an answer has, at most.
    pub const ANSWER: usize = 65_536;

    /// Makes a program whose output is discarded.
    pub fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self { command, timeout, log_output: false, names_directory: false, guard: None, assigned: None }
    }

    /// Runs it because of `event`: where it was [assigned](Runner::assign) to, else here.
    ///
    /// # Cancel safety
    /// The program is killed with its group when this is dropped.
    pub(crate) async fn run(&self, event: &Event) -> Result<(), Failure> {
        let ended = match &self.assigned {
            Some(assigned) => assigned.run(self, event).await,
            None => self.run_here(&Occasion::of(event)).await,
        };
        self.log(&ended.output);
        ended.failure.map_or(Ok(()), Err)
    }

    fn log(&self, output: &Output) {
        for (stream, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !text.is_empty() {
                info!(program = %self, stream, output = text.trim_end(), "output of a program");
            }
        }
    }

    /// Runs it as a child of this process.
    ///
    /// # Cancel safety
    /// As for a program of a hook: it is killed with its group when this is dropped.
    pub async fn run_here(&self, occasion: &Occasion) -> Ended {
        let mut group = match Group::start(&mut self.command(occasion)) {
            Ok(group) => group,
            Err(error) => return Failure::not_started(&error).into(),
        };
        let ended = tokio::time::timeout(self.timeout, group.wait_and_read(self.log_output)).await;
        self.judge(group, ended.ok()).await
    }

    /// Tells what it means how a program ended, or that it did not in time.
    async fn judge(&self, mut group: Group, ended: Option<(io::Result<ExitStatus>, Output)>) -> Ended {
        match ended {
            Some((Ok(status), output)) if status.success() => Ended { failure: None, output },
            Some((Ok(status), output)) => {
                let (reason, code) = (describe(status), status.code());
                let failure = Failure { reason, code, said_no: true, temporary: true };
                Ended { failure: Some(failure), output }
            }
            Some((Err(error), _)) => Failure::new(format!("cannot wait for it: {error}")).into(),
            None => {
                group.kill();
                // It was killed, and this only reaps it; a process that waits for a broken disk does not even end then.
                tokio::time::timeout(REAPED_WITHIN, group.wait()).await.ok();
                Failure::new(format!("killed after {:?}", self.timeout)).into()
            }
        }
    }

    /// Tells whether a variable of this process is held back from programs: it holds a credential, or is ours to set.
    pub fn holds_back(variable: &OsStr) -> bool {
        HELD_BACK.iter().any(|prefix| variable.as_encoded_bytes().starts_with(prefix.as_bytes()))
    }

    fn command(&self, occasion: &Occasion) -> Command {
        let (program, arguments) =
            self.command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
        let directory = occasion.directory.to_string_lossy();
        let filled = |text: &str| match self.names_directory {
            true => text.replace("{directory}", &directory),
            false => text.to_owned(),
        };
        let output = || if self.log_output { Stdio::piped() } else { Stdio::null() };
        let mut command = Command::new(filled(program));
        command.args(arguments.iter().map(|argument| filled(argument)));
        command.stdin(Stdio::null()).stdout(output()).stderr(output());
        self.isolate(&mut command);
        command.envs(occasion.variables());
        command
    }

    /// Gives a command a process group of its own, and takes what no program should see from its environment.
    fn isolate(&self, command: &mut Command) {
        command.process_group(0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| Self::holds_back(name)) {
            command.env_remove(name);
        }
    }
}

impl Occasion {
    pub(crate) fn of(event: &Event) -> Self {
        let Event { delivery, directory, generation, .. } = event;
        Self { delivery: delivery.clone(), directory: directory.clone(), generation: generation.clone() }
    }

    fn variables(&self) -> [(&'static str, &OsStr); 3] {
        [
            ("KEYWHEEL_DELIVERY", self.delivery.as_ref()),
            ("KEYWHEEL_DIRECTORY", self.directory.as_ref()),
            ("KEYWHEEL_GENERATION", self.generation.as_ref()),
        ]
    }
}

impl fmt::Display for Program {
    /// Names the program alone: its arguments are the user's, and may say more than a log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.first().map_or("", String::as_str))
    }
}

impl Failure {
    /// Makes the failure of a run that may succeed a moment later.
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: None, said_no: false, temporary: true }
    }

    fn not_started(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such program".into(),
            _ => format!("cannot start it: {error}"),
        };
        Self { reason, code: None, said_no: false, temporary: false }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self { failure: Some(failure), output: Output::default() }
    }
}

const REAPED_WITHIN: Duration = Duration::from_secs(5);
/// The beginnings of the names of variables that hold credentials, or that are ours to set.
const HELD_BACK: [&str; 5] = ["VAULT_", "BAO_", "AWS_", "KEYWHEEL_", "OTEL_EXPORTER_OTLP_"];

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "ended in an unknown way".into(),
    }
}
