//! Ends programs whose process was killed: one that outlives it would go on with what nobody wants any more.
//!
//! A second process is told of each program, and given a pidfd of it while it cannot have been reaped: that stands for no other process, however long it takes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::channel;

/// A small process that is told which programs run, and kills them with their groups when this process is gone. Cheap to clone.
///
/// It is started with the first program, and again with the next one after it has died.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Mutex<Watch>>);

/// A group that is guarded until this is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    guard: Guard,
    number: u64,
}

#[derive(Debug)]
struct Watch {
    command: Command,
    process: Option<Process>,
    running: BTreeMap<u64, Running>,
    next: u64,
}

#[derive(Debug)]
struct Process {
    control: OwnedFd,
    child: Child,
}

/// The leader of a group.
#[derive(Debug)]
struct Running {
    leader: Pid,
    pidfd: OwnedFd,
}

/// What the second process is told.
#[derive(Debug, Deserialize, Serialize)]
enum Told {
    /// With a pidfd of the leader.
    Begun {
        number: u64,
        leader: i32,
    },
    Ended {
        number: u64,
    },
}

impl Guard {
    /// Makes one whose process is started by `command`, which has to [`serve`] its standard input.
    pub fn new(command: Command) -> Self {
        Self(Arc::new(Mutex::new(Watch { command, process: None, running: BTreeMap::new(), next: 0 })))
    }

    /// Has the group of `leader`, which is not reaped yet, be killed when this process is gone, until what is returned is dropped.
    ///
    /// # Errors
    /// The guard cannot be told, nor can a new one be started.
    pub(super) fn watch(&self, leader: Pid) -> io::Result<Guarded> {
        let running = Running { leader, pidfd: pidfd_open(leader, PidfdFlags::empty())? };
        let number = self.lock().begin(running)?;
        Ok(Guarded { guard: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.guard.lock().end(self.number);
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Guard {}

impl Watch {
    fn begin(&mut self, running: Running) -> io::Result<u64> {
        let number = self.next;
        self.next += 1;
        let told = self.process.as_ref().is_some_and(|process| process.begun(number, &running).is_ok());
        self.running.insert(number, running);
        if !told {
            self.start().inspect_err(|_| drop(self.running.remove(&number)))?;
        }
        Ok(number)
    }

    /// Starts the process, in place of one that does not listen, and tells it all that runs.
    fn start(&mut self) -> io::Result<()> {
        self.process = None;
        let process = Process::start(&mut self.command)?;
        self.running.iter().try_for_each(|(number, running)| process.begun(*number, running))?;
        self.process = Some(process);
        Ok(())
    }

    fn end(&mut self, number: u64) {
        self.running.remove(&number);
        if let Some(process) = &self.process {
            // Who cannot be told holds a pidfd of a process that is gone, which harms nobody.
            process.tell(&Told::Ended { number }, None).ok();
        }
    }
}

impl Process {
    fn start(command: &mut Command) -> io::Result<Self> {
        let (control, theirs) = channel::pair()?;
        // What a terminal sends to this process is not for it.
        let child = command.stdin(theirs).stdout(Stdio::null()).process_group(0).spawn();
        // While `command` had the other end open, nobody would see that it closes.
        command.stdin(Stdio::null());
        Ok(Self { control, child: child? })
    }

    fn begun(&self, number: u64, running: &Running) -> io::Result<()> {
        let leader = running.leader.as_raw_nonzero().get();
        self.tell(&Told::Begun { number, leader }, Some(&running.pidfd))
    }

    /// Tells it at once, or not at all: nothing waits for a process that does not read.
    fn tell(&self, told: &Told, pidfd: Option<&OwnedFd>) -> io::Result<()> {
        channel::send(&self.control, told, pidfd.map(AsFd::as_fd), SendFlags::DONTWAIT)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed before `control` closes, or it would take that for the end of this process. One that has ended is reaped all the same.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Running {
    /// Kills the leader and its group; that it has ended is what is wanted.
    fn kill(&self) -> io::Result<()> {
        // Stopped, the leader does not end before its group does: until then its number is its own.
        if unless_gone(pidfd_send_signal(&self.pidfd, Signal::STOP))? {
            return Ok(());
        }
        let leads = getpgid(Some(self.leader)) == Ok(self.leader);
        let group = if leads { unless_gone(kill_process_group(self.leader, Signal::KILL)) } else { Ok(true) };
        let leader = unless_gone(pidfd_send_signal(&self.pidfd, Signal::KILL));
        if leader.is_err() {
            // It goes on rather than hang for ever.
            pidfd_send_signal(&self.pidfd, Signal::CONT).ok();
        }
        group.and(leader).map(drop)
    }
}

/// Returns whether whom a signal was for is gone.
fn unless_gone(sent: Result<(), Errno>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(false),
        Err(Errno::SRCH) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Does the guard's work: takes which programs begin and end, until the process that says so is gone; then kills those that still run.
///
/// # Errors
/// What comes is not from a [`Guard`], and nothing is killed then; or there is a program that could not be killed, and all others are.
pub fn serve(control: impl AsFd) -> io::Result<()> {
    let mut running = BTreeMap::new();
    while let Some(message) = channel::receive(&control, RecvFlags::empty())? {
        match message {
            // By a number below, kill(2) would not mean one group.
            (Told::Begun { number, leader: leader @ 2.. }, Some(pidfd)) => {
                let leader = Pid::from_raw(leader).ok_or(io::ErrorKind::InvalidData)?;
                running.insert(number, Running { leader, pidfd });
            }
            (Told::Ended { number }, None) => drop(running.remove(&number)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let kill = |running: &Running| {
        let leader = running.leader.as_raw_nonzero();
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot kill {leader}: {error}"));
        running.kill().map_err(failed)
    };
    let killed: Vec<io::Result<()>> = running.values().map(kill).collect();
    killed.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::time::Duration;

    use rustix::net::{Shutdown, shutdown};
    use serde_json::{Value, json};

    use super::*;

    /// A program that runs until the test is over.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("600").process_group(0).spawn().unwrap())
        }

        /// Starts one in the group of the test.
        fn start_beside() -> Self {
            Self(Command::new("sleep").arg("600").spawn().unwrap())
        }

        fn pid(&self) -> Pid {
            Pid::from_child(&self.0)
        }

        fn running(&self) -> Running {
            Running { leader: self.pid(), pidfd: pidfd_open(self.pid(), PidfdFlags::empty()).unwrap() }
        }

        fn runs(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }

        fn was_killed(&mut self) -> bool {
            until(|| !self.runs());
            self.0.wait().unwrap().signal() == Some(9)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let is_in_time = (0..20_000).any(|_| {
            let over = holds();
            if !over {
                std::thread::sleep(Duration::from_millis(1));
            }
            over
        });
        assert!(is_in_time, "waited in vain");
    }

    /// Returns a guard whose process is told what the test reads at the other end.
    fn guard() -> (Guard, OwnedFd) {
        let (control, theirs) = channel::pair().unwrap();
        let child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let guard = Guard::new(Command::new("false"));
        guard.lock().process = Some(Process { control, child });
        (guard, theirs)
    }

    /// Has it look as if the process that has the guard were gone.
    fn leave(guard: &Guard) {
        shutdown(&guard.lock().process.as_ref().unwrap().control, Shutdown::Write).unwrap();
    }

    fn process_of(guard: &Guard) -> u32 {
        guard.lock().process.as_ref().unwrap().child.id()
    }

    #[test]
    fn what_runs_when_its_process_is_gone_is_killed_and_nothing_else() {
        let (guard, theirs) = guard();
        let (mut runs, mut forgotten, mut never_told) =
            (Sleeper::start(), Sleeper::start(), Sleeper::start());
        let _guarded = guard.watch(runs.pid()).unwrap();
        drop(guard.watch(forgotten.pid()).unwrap());
        leave(&guard);
        serve(theirs).unwrap();
        assert!(runs.was_killed());
        assert!(forgotten.runs() && never_told.runs());
    }

    #[test]
    fn a_program_that_has_ended_is_nobody_to_kill() {
        let (guard, theirs) = guard();
        let (mut ended, mut runs) = (Sleeper::start(), Sleeper::start());
        let _guarded = (guard.watch(ended.pid()).unwrap(), guard.watch(runs.pid()).unwrap());
        ended.0.kill().unwrap();
        ended.0.wait().unwrap();
        leave(&guard);
        serve(theirs).unwrap();
        assert!(runs.was_killed());
    }

    #[test]
    fn whoever_does_not_lead_its_group_is_killed_alone_and_not_left_stopped() {
        let (mut beside, mut other) = (Sleeper::start_beside(), Sleeper::start_beside());
        beside.running().kill().unwrap();
        assert!(beside.was_killed());
        assert!(other.runs());
    }

    #[test]
    fn what_is_not_from_a_guard_kills_nobody() {
        let mut child = Sleeper::start();
        let leader = child.pid().as_raw_nonzero().get();
        let running = child.running();
        let with = |leader: i64| (json!({"Begun": {"number": 1, "leader": leader}}), Some(&running.pidfd));
        let without = |told: Value| (told, None);
        let wrong = [
            with(0),
            with(1),
            with(-i64::from(leader)),
            with(1 << 32),
            (json!({"Ended": {"number": 0}}), Some(&running.pidfd)),
            without(json!({"Begun": {"number": 1, "leader": leader}})),
            without(json!({"Ended": {"number": "0"}})),
            without(json!("")),
        ];
        for (wrong, pidfd) in wrong {
            let (control, theirs) = channel::pair().unwrap();
            let send = |told: &Value, pidfd: Option<&OwnedFd>| {
                channel::send(&control, told, pidfd.map(AsFd::as_fd), SendFlags::DONTWAIT).unwrap();
            };
            send(&json!({"Begun": {"number": 0, "leader": leader}}), Some(&running.pidfd));
            send(&wrong, pidfd);
            drop(control);
            assert_eq!(serve(theirs).unwrap_err().kind(), io::ErrorKind::InvalidData, "{wrong}");
        }
        assert!(child.runs());
    }

    #[test]
    fn a_guard_that_died_is_started_again_and_told_all_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let mut command = Command::new("sh");
        command.args(["-c", "exec cat >> \"$0\""]).arg(&told);
        let guard = Guard::new(command);
        let (first, second) = (Sleeper::start(), Sleeper::start());
        let _first = guard.watch(first.pid()).unwrap();
        let died = process_of(&guard);
        let heard = |count: usize| {
            until(|| fs::read_to_string(&told).unwrap_or_default().matches("Begun").count() >= count);
        };
        heard(1);
        guard.lock().process.as_mut().unwrap().child.kill().unwrap();
        // Killed, it has its end of the channel until it is gone.
        guard.lock().process.as_mut().unwrap().child.wait().unwrap();
        let _second = guard.watch(second.pid()).unwrap();
        assert_ne!(process_of(&guard), died);
        heard(3);
    }

    #[test]
    fn one_that_cannot_be_started_is_told() {
        let guard = Guard::new(Command::new("/nowhere/keywheel"));
        let child = Sleeper::start();
        assert_eq!(guard.watch(child.pid()).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(guard.lock().running.is_empty());
    }

    #[test]
    fn one_that_does_not_read_is_replaced_and_never_waited_for() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let guard = Guard::new(command);
        let child = Sleeper::start();
        drop(guard.watch(child.pid()).unwrap());
        let deaf = process_of(&guard);
        let mut count = 0;
        until(|| {
            count += 1;
            drop(guard.watch(child.pid()).unwrap());
            process_of(&guard) != deaf
        });
        assert!(count > 10, "{count}");
        assert!(!Path::new(&format!("/proc/{deaf}")).exists(), "a zombie");
    }

    #[test]
    fn it_ends_with_its_last_clone_and_leaves_no_zombie() {
        let (guard, _theirs) = guard();
        let process = process_of(&guard);
        let clone = guard.clone();
        drop(guard);
        assert!(Path::new(&format!("/proc/{process}")).exists());
        drop(clone);
        assert!(!Path::new(&format!("/proc/{process}")).exists());
    }
}
