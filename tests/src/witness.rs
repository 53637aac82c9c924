//! Runs a dummy application that notes every SIGHUP it gets, with the time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::{built, wait};

/// A running dummy; killed when dropped.
#[derive(Debug)]
pub struct Witness {
    name: String,
    process: Process,
    folder: TempDir,
}

impl Witness {
    /// Starts a dummy under a process name of its own and waits until it listens.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("keywheel-witness-").tempdir().expect("a temporary folder");
        let name = unique_name();
        // The kernel takes a process's name from the path that it was started by, not from where a link leads.
        let program = folder.path().join(&name);
        symlink(built::program("witness"), &program).expect("a link to the witness");
        let mut command = Command::new(program);
        command.arg(folder.path().join(LOG)).arg(folder.path().join(PID_FILE));
        let process = Process::start(&name, command, folder.path());
        wait::until(Duration::from_secs(10), "the witness to listen", || {
            process.assert_running();
            folder.path().join(PID_FILE).exists().then_some(())
        });
        Self { name, process, folder }
    }

    /// Returns the process's name (`/proc/PID/comm`), which no other process of this machine has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of a file with the process's id.
    pub fn pid_file(&self) -> PathBuf {
        self.folder.path().join(PID_FILE)
    }

    /// Returns the process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns when each SIGHUP arrived, on [`wait::monotonic`]'s clock. Signals that arrive at once count as one.
    pub fn signals(&self) -> Vec<Duration> {
        let log = fs::read_to_string(self.folder.path().join(LOG)).expect("the witness's log");
        // The last line may still be on its way.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().map(|line| Duration::from_nanos(line.parse().expect("nanoseconds"))).collect()
    }

    /// Waits until more than `seen` signals have arrived; returns them all.
    ///
    /// # Panics
    ///
    /// When none does within `bound`.
    pub fn wait_for_more_than(&self, seen: usize, bound: Duration) -> Vec<Duration> {
        wait::until(bound, &format!("more than {seen} signals"), || {
            Some(self.signals()).filter(|signals| signals.len() > seen)
        })
    }
}

/// Fits in the 15 bytes that the kernel keeps.
fn unique_name() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    format!("wit-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

const LOG: &str = "signals";
const PID_FILE: &str = "witness.pid";
