//! Runs the real `keywheel` program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, Signal};
use crate::{built, http, ports, wait};

/// A `keywheel` command that is being put together.
///
/// Its environment is empty but for `PATH`, `HOME` (a temporary folder) and what [`Launch::env`] adds.
#[derive(Debug)]
pub struct Launch {
    command: Command,
    folder: TempDir,
    configuration: Option<String>,
}

/// A running `keywheel agent`, `run` or other lasting command; killed when dropped.
#[derive(Debug)]
pub struct Keywheel {
    process: Process,
    admin: Option<String>,
    folder: TempDir,
}

/// What a command that came to its end left.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

impl Launch {
    /// Begins `keywheel SUBCOMMAND`.
    pub fn new(subcommand: &str) -> Self {
        let folder =
            tempfile::Builder::new().prefix("keywheel-launch-").tempdir().expect("a temporary folder");
        let mut command = Command::new(built::program("keywheel"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).arg(subcommand);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        Self { command, folder, configuration: None }
    }

    /// Begins `keywheel agent --config FILE` with this configuration.
    ///
    /// One without an `admin` section gets an admin endpoint on a free port.
    pub fn agent(configuration: &str) -> Self {
        Self::new("agent").config(configuration)
    }

    /// Passes `--config FILE` with this text in the file.
    #[must_use]
    pub fn config(mut self, configuration: &str) -> Self {
        self.command.arg("--config").arg(self.folder.path().join(CONFIG_FILE));
        self.configuration = Some(configuration.to_owned());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Returns the folder that the program starts in and that holds its `keywheel.yaml`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a command that lasts.
    pub fn start(mut self) -> Keywheel {
        let mut admin = None;
        if let Some(configuration) = &mut self.configuration
            && !configuration.lines().any(|line| line.starts_with("admin:"))
        {
            let listen = format!("127.0.0.1:{}", ports::free());
            configuration.push_str(&format!("\nadmin: {{listen: \"{listen}\"}}\n"));
            admin = Some(format!("http://{listen}"));
        }
        self.write_configuration();
        let process = Process::start("keywheel", self.command, self.folder.path());
        Keywheel { process, admin, folder: self.folder }
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// When it still runs after a minute.
    pub fn output(self) -> Finished {
        self.write_configuration();
        let process = Process::start("keywheel", self.command, self.folder.path());
        let status = process.wait_for_end(Duration::from_secs(60));
        Finished { code: status.code(), stdout: process.stdout(), stderr: process.stderr() }
    }

    fn write_configuration(&self) {
        if let Some(configuration) = &self.configuration {
            std::fs::write(self.folder.path().join(CONFIG_FILE), configuration)
                .expect("a configuration file");
        }
    }
}

impl Keywheel {
    /// Waits until `/readyz` answers 200.
    ///
    /// # Panics
    ///
    /// When it does not within `bound`, or when the program ends before.
    pub fn wait_ready(&self, bound: Duration) {
        wait::until(bound, "keywheel to be ready", || {
            self.process.assert_running();
            self.admin("/readyz").filter(|answer| answer.status == 200)
        });
    }

    /// Waits until `path` exists.
    ///
    /// # Panics
    ///
    /// When it does not within `bound`, or when the program ends before.
    pub fn wait_for_file(&self, path: &Path, bound: Duration) {
        wait::until(bound, &format!("the file {}", path.display()), || {
            self.process.assert_running();
            path.exists().then_some(())
        });
    }

    /// Reads `path` at the admin endpoint; `None` when nothing answers.
    ///
    /// # Panics
    ///
    /// When the configuration had an `admin` section of its own.
    pub fn admin(&self, path: &str) -> Option<http::Answer> {
        http::get(&format!("{}{path}", self.admin_address())).ok()
    }

    /// Returns the admin endpoint's address; see [`Launch::agent`].
    ///
    /// # Panics
    ///
    /// When the configuration had an `admin` section of its own.
    pub fn admin_address(&self) -> &str {
        self.admin.as_deref().expect("an admin endpoint that the test support chose")
    }

    /// Replaces the configuration file; SIGHUP makes the agent read it.
    pub fn rewrite_config(&self, configuration: &str) {
        std::fs::write(self.config_file(), configuration).expect("a configuration file");
    }

    /// Returns the configuration file's path.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join(CONFIG_FILE)
    }

    /// Returns what `/status` says; `null` when nothing answers.
    ///
    /// # Panics
    ///
    /// As [`Keywheel::admin`].
    pub fn status(&self) -> Value {
        self.admin("/status").map_or(Value::Null, |answer| answer.json())
    }

    /// Returns the process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the lines of the JSON log that have this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.process.stderr();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Returns all that the program wrote so far: standard output, then standard error.
    pub fn logs(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Sends SIGTERM and waits for the end; returns the exit code.
    ///
    /// # Panics
    ///
    /// When the program still runs after `bound`.
    pub fn terminate(&self, bound: Duration) -> Option<i32> {
        self.process.signal(Signal::TERM);
        self.process.wait_for_end(bound).code()
    }
}

const CONFIG_FILE: &str = "keywheel.yaml";
