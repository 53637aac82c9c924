//! The terminal that the command is run on: whose input it takes, and job control.
//!
//! A process group that is not in a terminal's foreground is stopped when it reads from it (termios(3), "job control"), so the command's group
//! is put there, and this program's comes back when the command has ended or stopped.

use std::io::stdin;

use nix::sys::signal::{SigSet, Signal as Masked};
use nix::unistd::{self, getpgrp, getsid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, kill_current_process_group};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal on standard input.
#[derive(Debug)]
pub(super) struct Terminal {
    /// This program's group; none when it began outside of this PID namespace.
    own: Option<Pid>,
    /// How it was set when the program began.
    modes: Option<Termios>,
}

/// What to do with a command that was stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stopped {
    /// It wanted the terminal, which can be lent to it now: it goes on.
    Continue,
    /// Stop with it, so that the shell that started this program notices.
    StopToo,
    /// It was stopped on purpose, by somebody who will let it go on.
    Leave,
}

/// Whose the foreground of the terminal is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Foreground {
    Ours,
    Commands,
    Others,
}

impl Terminal {
    /// Returns the terminal on standard input, if there is one.
    pub(super) fn of_stdin() -> Option<Self> {
        if !isatty(stdin()) {
            return None;
        }
        // Whoever takes a terminal back from the background is stopped for it, unless it has this signal blocked (tcsetpgrp(3)). The command
        // begins with an empty mask all the same: the standard library sees to it.
        let mut mask = SigSet::empty();
        mask.add(Masked::SIGTTOU);
        mask.thread_block().ok()?;
        Some(Self { own: Pid::from_raw(getpgrp().as_raw()), modes: tcgetattr(stdin()).ok() })
    }

    /// Puts the command's group into the foreground, if this program's is there.
    pub(super) fn lend(&self, group: Pid) {
        if self.foreground(group) == Foreground::Ours {
            // Without it, the command is stopped when it reads; then there is another try.
            tcsetpgrp(stdin(), group).ok();
        }
    }

    /// Puts this program's group into the foreground again, if the command's is there.
    pub(super) fn take_back(&self, group: Pid) {
        if let Some(own) = self.own
            && self.foreground(group) == Foreground::Commands
        {
            // A terminal that is gone is nobody's.
            tcsetpgrp(stdin(), own).ok();
        }
    }

    /// Sets the terminal as it was at first: a command that was killed could not.
    pub(super) fn restore(&self) {
        if let Some(modes) = &self.modes {
            // A terminal that is gone needs no modes.
            tcsetattr(stdin(), OptionalActions::Drain, modes).ok();
        }
    }

    /// Decides what to do with a command that was stopped.
    pub(super) fn stopped(&self, group: Pid) -> Stopped {
        // Without a shell in this session nobody would let this program go on.
        let has_shell = getppid().is_some_and(|parent| {
            let parent = unistd::Pid::from_raw(parent.as_raw_nonzero().get());
            getsid(Some(parent)).is_ok_and(|session| getsid(None) == Ok(session))
        });
        decide(self.foreground(group), has_shell)
    }

    fn foreground(&self, group: Pid) -> Foreground {
        match tcgetpgrp(stdin()) {
            Ok(foreground) if foreground == group => Foreground::Commands,
            Ok(foreground) if Some(foreground) == self.own => Foreground::Ours,
            // A group outside of the namespace: this program's, as far as anybody can tell here.
            Err(Errno::OPNOTSUPP) if self.own.is_none() => Foreground::Ours,
            _ => Foreground::Others,
        }
    }
}

/// Tells whether this program is what the shell of its terminal waits for, wherever its standard input comes from.
pub(super) fn is_foreground_job() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open("/dev/tty", flags, Mode::empty());
    let foreground = terminal.and_then(tcgetpgrp);
    foreground.is_ok_and(|foreground| foreground.as_raw_nonzero().get() == getpgrp().as_raw())
}

/// Stops this program and whatever else is of its job, as the terminal would have; returns when it goes on.
pub(super) fn stop_own_job() {
    // It is never refused to one's own group.
    kill_current_process_group(Signal::STOP).ok();
}

fn decide(foreground: Foreground, has_shell: bool) -> Stopped {
    match (foreground, has_shell) {
        (Foreground::Ours, _) => Stopped::Continue,
        (_, true) => Stopped::StopToo,
        (Foreground::Commands, false) => Stopped::Continue,
        (Foreground::Others, false) => Stopped::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_command_is_never_left_with_the_terminal() {
        for has_shell in [true, false] {
            assert_eq!(decide(Foreground::Ours, has_shell), Stopped::Continue);
            assert_ne!(decide(Foreground::Commands, has_shell), Stopped::Leave);
        }
        assert_eq!(decide(Foreground::Commands, true), Stopped::StopToo);
        assert_eq!(decide(Foreground::Others, true), Stopped::StopToo, "a background job wants the terminal");
    }
}
