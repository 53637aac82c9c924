//! Runs one child process with its output in files, and ends it by its PID.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::wait;

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `NAME.stdout` and `NAME.stderr` in `logs`, appended to what is there.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Self {
        let stdout = logs.join(format!("{name}.stdout"));
        let stderr = logs.join(format!("{name}.stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(append(&stdout))
            .stderr(append(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        Self { name: name.to_owned(), pid: Pid::from_child(&child), child: Mutex::new(child), stdout, stderr }
    }

    /// Returns the process's id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends `signal`; does nothing when the process has ended.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child();
        // Under the lock and unreaped: the PID cannot belong to anybody else.
        if child.try_wait().expect("the child's status").is_none() {
            kill_process(self.pid, signal).expect("a signal to our own child");
        }
    }

    /// Returns how the process ended, or `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("the child's status")
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    ///
    /// When it still runs after `bound`.
    pub fn wait_for_end(&self, bound: Duration) -> ExitStatus {
        wait::until(bound, &format!("the end of {}", self.name), || self.ended())
    }

    /// Ends the process with SIGKILL and waits until it is gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.child().wait().expect("the child's end");
    }

    /// Asks the process to end with `signal`, and waits until it is gone; kills one that still runs after `bound`.
    pub fn end_by(&self, signal: Signal, bound: Duration) {
        self.signal(signal);
        if wait::within(bound, || self.ended()).is_none() {
            self.kill();
        }
    }

    /// Returns what the process has written to its standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Returns what the process has written to its standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Returns the resident memory in bytes.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn resident_bytes(&self) -> u64 {
        self.status("", "VmRSS:") * 1024
    }

    /// Returns the resident memory in bytes that is of the process alone: without the pages of the files that it has mapped, the program itself among them.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn own_bytes(&self) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.pid())).expect("a running process");
        let (mut own, mut is_file) = (0, false);
        for line in maps.lines() {
            let kilobytes = |of: &str| line.strip_prefix(of)?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
            if let Some(bytes) = kilobytes(if is_file { "Anonymous:" } else { "Rss:" }) {
                own += bytes * 1024;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || first.is_ascii_lowercase()) {
                // Memory behind a descriptor has the name of a file that is deleted.
                is_file = line.contains(" /") && !line.ends_with("(deleted)");
            }
        }
        own
    }

    /// Returns the most memory in bytes that was resident since the process began.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn peak_bytes(&self) -> u64 {
        self.status("", "VmHWM:") * 1024
    }

    /// Returns how often the threads that there are now gave up a core, or lost it: each time, they had been woken up before.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn wake_ups(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a running process");
        let threads = threads.flatten().filter_map(|thread| thread.file_name().into_string().ok());
        let switches = |thread| {
            let folder = format!("task/{thread}/");
            ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]
                .map(|name| self.status(&folder, name))
                .iter()
                .sum::<u64>()
        };
        threads.map(switches).sum()
    }

    /// Reads a number of proc_pid_status(5); a thread that has ended has none.
    fn status(&self, folder: &str, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/{folder}status", self.pid()));
        assert!(status.is_ok() || !folder.is_empty(), "{} has ended", self.name);
        let status = status.unwrap_or_default();
        let number = status.lines().find_map(|line| line.strip_prefix(name));
        number.and_then(|number| number.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// Returns the CPU time that all threads have used, user and system, in steps of 10 ms.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a running process");
        // proc_pid_stat(5): the name in parentheses may hold anything; utime and stime are fields 14 and 15.
        let (_, after_name) = stat.rsplit_once(')').expect("a process name");
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Panics with the last lines of the log when the process has ended.
    pub fn assert_running(&self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}; it wrote:\n{}", self.name, self.last_lines());
        }
    }

    fn last_lines(&self) -> String {
        let text = format!("{}{}", self.stdout(), self.stderr());
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Says whether a process has ended. One that nobody has reaped has, too: whoever takes in orphans may leave it so.
pub fn is_gone(pid: u32) -> bool {
    // proc_pid_stat(5): the name in parentheses may hold anything; the state follows it.
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Returns the children of a process of one thread; none when it has ended.
pub fn children(of: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().expect("a process id")).collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn append(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log file")
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a log file")).into_owned()
}

const LAST_LINES: usize = 20;
