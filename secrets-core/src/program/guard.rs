//! Ends programs whose process was killed: one that outlives it would go on with what nobody wants any more.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// A small process that is told which programs run, and kills them with their groups when this process is gone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Mutex<Child>>);

/// A group that is guarded until this is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    guard: Guard,
    leader: Pid,
}

impl Guard {
    /// Starts `command`, which has to [`serve`]. It ends by itself when the last clone is dropped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        // What a terminal sends to this process is not for it.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        Ok(Self(Arc::new(Mutex::new(command.spawn()?))))
    }

    /// Has the group of `leader` be killed when this process is gone, or `leader` forgotten when what is returned is dropped.
    pub(super) fn watch(&self, leader: Pid) -> io::Result<Guarded> {
        self.tell(BEGUN, leader)?;
        Ok(Guarded { guard: self.clone(), leader })
    }

    fn tell(&self, what: char, leader: Pid) -> io::Result<()> {
        let mut process = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = process.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        // At once, so that no half of it is there.
        stdin.write_all(format!("{what}{}\n", leader.as_raw_nonzero()).as_bytes())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A guard that is gone has nothing to forget.
        self.guard.tell(ENDED, self.leader).ok();
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Guard {}

/// Does the guard's work: reads which programs begin and end, until the process that says so is gone; then kills those that still run.
///
/// # Errors
/// What is read is not from a [`Guard`]; nothing is killed then.
pub fn serve(told: impl BufRead) -> io::Result<()> {
    let mut running: BTreeMap<i32, (Pid, OwnedFd)> = BTreeMap::new();
    for line in told.lines() {
        let line = line?;
        let leader = line.get(1..).and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
        let leader = leader.ok_or(io::ErrorKind::InvalidData)?;
        let number = leader.as_raw_nonzero().get();
        if line.starts_with(BEGUN) {
            // It may have ended already.
            if let Ok(pidfd) = pidfd_open(leader, PidfdFlags::empty()) {
                running.insert(number, (leader, pidfd));
            }
        } else {
            running.remove(&number);
        }
    }
    for (leader, pidfd) in running.into_values() {
        // Stopped, the leader does not end before its group does: until then its number is its own.
        if pidfd_send_signal(&pidfd, Signal::STOP).is_ok() {
            kill_process_group(leader, Signal::KILL).ok();
        }
    }
    Ok(())
}

const BEGUN: char = '+';
const ENDED: char = '-';

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn what_runs_when_its_process_is_gone_is_killed_and_nothing_else() {
        let (mut runs, mut forgotten, mut never_told) = (sleeper(), sleeper(), sleeper());
        let told = format!("+{0}\n+{1}\n-{1}\n", runs.id(), forgotten.id());
        serve(told.as_bytes()).unwrap();
        assert_eq!(runs.wait().unwrap().signal(), Some(9));
        for child in [&mut forgotten, &mut never_told] {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn what_is_no_number_of_a_program_kills_nobody() {
        let mut child = sleeper();
        for wrong in ["+", "+x", "-1x", "+0", "", "+4294967296"] {
            let told = format!("+{}\n{wrong}\n", child.id());
            assert_eq!(serve(told.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{wrong:?}");
        }
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
