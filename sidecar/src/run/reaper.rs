//! Reaps the orphans that this program is given as the init of a container, or as a subreaper: processes that nobody else will wait for.
//!
//! Hooks are this program's children too, and the runtime waits for them by their number; reaped by somebody else, a hook would seem to have failed. The
//! kernel does not tell an orphan from a child of one's own, so what may be one is left to the runtime for a while first.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
use nix::unistd::{self, getpgid, getpgrp, getsid};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use tokio::time::Instant;
use tracing::debug;

/// Reaps orphans.
#[derive(Debug)]
pub(super) struct Reaper {
    own: Membership,
    /// One that may be the runtime's to reap, and since when it has been seen.
    left_alone: Option<(Pid, Instant)>,
}

/// The process group and the session of a process; 0 for one that began outside of this PID namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Membership {
    group: i32,
    session: i32,
}

impl Reaper {
    /// Makes this program the parent of every orphan among its descendants.
    pub(super) fn new() -> Self {
        if let Err(error) = set_child_subreaper(Some(rustix::process::getpid())) {
            debug!(%error, "orphans of the command are left to the init of this system");
        }
        let own =
            Membership { group: getpgrp().as_raw(), session: getsid(None).map_or(0, unistd::Pid::as_raw) };
        Self { own, left_alone: None }
    }

    /// Reaps every orphan that has ended; `command` is not one. Returns when to look again, if there may be one left.
    pub(super) fn reap(&mut self, command: Option<Pid>, now: Instant) -> Option<Instant> {
        loop {
            let pid = ended_child()?;
            if Some(pid) == command {
                // It has ended just now: SIGCHLD is on its way, and the next look comes with it.
                return None;
            }
            if may_be_a_hook(pid, Membership::of(pid)?, self.own) {
                match self.left_alone {
                    Some((known, since)) if known == pid && now >= since + LEFT_ALONE => {}
                    Some((known, since)) if known == pid => return Some(since + LEFT_ALONE),
                    _ => {
                        self.left_alone = Some((pid, now));
                        return Some(now + LEFT_ALONE);
                    }
                }
            }
            // The runtime was faster: there is nothing left to do.
            waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
    }
}

impl Membership {
    fn of(pid: Pid) -> Option<Self> {
        let pid = Some(unistd::Pid::from_raw(pid.as_raw_nonzero().get()));
        Some(Self { group: getpgid(pid).ok()?.as_raw(), session: getsid(pid).ok()?.as_raw() })
    }
}

/// Returns a child that has ended and is not reaped yet, and leaves it so.
fn ended_child() -> Option<Pid> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match nix::sys::wait::waitid(Id::All, flags) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => Pid::from_raw(pid.as_raw()),
        // There is none; or it ended by a signal that has no name, and stays until this program ends.
        _ => None,
    }
}

/// Tells whether a child may be one that this program has started itself: those share its session, and lead a group or share its own.
fn may_be_a_hook(pid: Pid, its: Membership, own: Membership) -> bool {
    its.session == own.session && (its.group == pid.as_raw_nonzero().get() || its.group == own.group)
}

/// How long the runtime may take to reap what is its own; it takes milliseconds.
const LEFT_ALONE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    #[test]
    fn an_orphan_is_told_from_a_hook_where_it_can_be() {
        let of = |group, session| Membership { group, session };
        let own = of(10, 5);
        assert!(may_be_a_hook(pid(20), of(20, 5), own), "a hook leads its group");
        assert!(may_be_a_hook(pid(20), of(10, 5), own), "a helper of a library is in our group");
        assert!(!may_be_a_hook(pid(20), of(15, 5), own), "an orphan of the command's group");
        assert!(!may_be_a_hook(pid(20), of(20, 20), own), "a daemon has a session of its own");
    }
}
