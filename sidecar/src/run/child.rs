//! The command as a process: the leader of a process group of its own.

use std::fs;
use std::io;
use std::process::Command;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

use super::outcome::Outcome;

/// A command that was started. What is sent goes to its whole group.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// How it ended, once it was reaped.
    outcome: Option<Outcome>,
}

/// What has become of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Ended(Outcome),
    /// By a signal that stops; it goes on at SIGCONT.
    Stopped,
}

impl Child {
    /// Starts `command` in a process group of its own, with the input and the outputs of this program.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = command.process_group(0).spawn()?;
        Ok(Self { pid: Pid::from_child(&child), outcome: None })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns how the command ended, once that was seen.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Returns what has become of the command since the last look. An ended one is reaped.
    pub(super) fn look(&mut self) -> Option<Change> {
        if self.outcome.is_some() {
            return None;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let status = match waitid(WaitId::Pid(self.pid), options) {
            Ok(status) => status?,
            // Somebody else has reaped it: nobody knows how it ended.
            Err(rustix::io::Errno::CHILD) => return Some(self.ended(Outcome::Exited(1))),
            Err(_) => return None,
        };
        if status.stopped() || status.trapped() {
            return Some(Change::Stopped);
        }
        let by_itself = status.exit_status().map(Outcome::Exited);
        let outcome = by_itself.or_else(|| status.terminating_signal().map(Outcome::Killed))?;
        Some(self.ended(outcome))
    }

    fn ended(&mut self, outcome: Outcome) -> Change {
        self.outcome = Some(outcome);
        Change::Ended(outcome)
    }

    /// Tells whether something of the group still runs after its leader has ended.
    ///
    /// While it does, nobody else gets the group's number (`fork(2)` gives none that a group has).
    pub(super) fn has_rest(&self) -> bool {
        // Cheap, and right when it says no; zombies count as well.
        if test_kill_process_group(self.pid).is_err_and(|errno| errno == rustix::io::Errno::SRCH) {
            return false;
        }
        let Ok(entries) = fs::read_dir("/proc") else { return false };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
            .any(|stat| is_living_member(&stat, self.pid.as_raw_nonzero().get()))
    }

    /// Sends a signal to the group.
    pub(super) fn send(&self, signal: Signal) {
        if self.outcome.is_none() || self.has_rest() {
            // It may have ended by itself meanwhile, which is seen elsewhere.
            kill_process_group(self.pid, signal).ok();
        }
    }
}

impl Drop for Child {
    /// A command is not left to itself when its supervisor gives up.
    fn drop(&mut self) {
        if self.outcome.is_none() {
            self.send(Signal::KILL);
        }
    }
}

/// Reads a line of `/proc/PID/stat` (proc_pid_stat(5), fields 3 and 5).
fn is_living_member(stat: &str, group: i32) -> bool {
    // The name before it is in parentheses, and may hold anything.
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    let state = fields.next().unwrap_or("X");
    let member = fields.nth(1).and_then(|field| field.parse::<i32>().ok()) == Some(group);
    member && !matches!(state, "Z" | "X" | "x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_no_rest_and_a_name_is_no_field() {
        assert!(is_living_member("12 (sleep) S 1 7 3 0", 7));
        assert!(is_living_member("12 (a) S 1 9 (b) T 1 7 3", 7));
        assert!(!is_living_member("12 (sleep) S 7 8 7 0", 7));
        assert!(!is_living_member("12 (sleep) Z 1 7 3 0", 7));
        assert!(!is_living_member("", 7));
    }
}
