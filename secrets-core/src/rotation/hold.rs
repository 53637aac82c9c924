//! Who is at a rotation, and whether they still are.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::getpid;
use serde::{Deserialize, Serialize};

use crate::audit;
use crate::clock::later;

/// Keeps others from a rotation that somebody is at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Hold {
    pub(super) by: Holder,
    pub(super) until: Timestamp,
}

/// One rotator of one process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Holder {
    /// The host's name, for people.
    pub(super) host: String,
    /// The run of the kernel and the PID namespace in it, in which `pid` means something.
    realm: String,
    pub(super) pid: i32,
    /// When the process began, by the kernel's count: process ids are used again.
    started: String,
    /// Tells the rotators of one process apart.
    id: String,
}

impl Hold {
    /// Makes a hold that lasts for longer than a step of at most `step`, so that nobody else begins one before it has ended.
    pub(super) fn new(by: &Holder, now: Timestamp, step: Duration) -> Self {
        Self { by: by.clone(), until: later(now, step + MARGIN) }
    }

    /// Tells whether it keeps `other` away: it is not over, and its holder is not known to be gone.
    pub(super) fn keeps_away(&self, other: &Holder, now: Timestamp) -> bool {
        self.by != *other && self.until > now && !self.by.is_gone(other)
    }
}

impl Holder {
    /// Returns this process, as a rotator of its own.
    pub(super) fn of_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let pid = getpid().as_raw_nonzero().get();
        Self {
            host: audit::host(),
            realm: format!("{} {}", read("/proc/sys/kernel/random/boot_id"), namespace.display()),
            pid,
            started: started(pid).unwrap_or_default(),
            id: format!("{:016x}", fastrand::u64(..)),
        }
    }

    /// Tells whether the process has ended, as far as that can be seen from where `other` is.
    fn is_gone(&self, other: &Self) -> bool {
        self.realm == other.realm && started(self.pid).as_ref() != Some(&self.started)
    }
}

const MARGIN: Duration = Duration::from_secs(15);

/// Reads when a process began: the 22nd field of proc_pid_stat(5), the 20th after the name.
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_over_with_its_time_or_with_its_process() {
        let (me, other) = (Holder::of_process(), Holder::of_process());
        let (now, step) = (Timestamp::UNIX_EPOCH, Duration::from_secs(45));
        let hold = Hold::new(&me, now, step);
        assert!(!hold.keeps_away(&me, now) && hold.keeps_away(&other, later(now, step)));
        assert!(!hold.keeps_away(&other, later(now, step + MARGIN)));
        // Another process has its number by now.
        let gone = Holder { started: "1".into(), ..me.clone() };
        assert!(!Hold::new(&gone, now, step).keeps_away(&other, now));
        // Nothing can be seen of a process elsewhere.
        let elsewhere = Holder { realm: "another machine".into(), ..gone };
        assert!(Hold::new(&elsewhere, now, step).keeps_away(&other, now));
    }
}
