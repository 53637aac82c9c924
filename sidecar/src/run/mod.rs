//! Supervises a command: starts it once its secrets are there, passes signals on, restarts it for new secrets, and ends as it ended.
//!
//! What to do is decided by [`life`], without I/O; here it is done.

mod backoff;
mod child;
mod environment;
mod life;
mod outcome;
mod reaper;
mod settling;
mod signals;
mod terminal;

use std::ffi::OsString;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use keywheel_core::Clock;
use keywheel_core::engine::Beginning;
use keywheel_core::notify::{RestartRequest, SignalNumber};
use rustix::process::Signal;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub(crate) use self::backoff::Policy;
use self::child::{Change, Child};
pub(crate) use self::environment::{Plan, Wishes};
use self::life::{Act, Life, Restart, Rules};
use self::outcome::Outcome;
use self::reaper::Reaper;
pub(crate) use self::settling::Kept;
use self::settling::Settling;
pub(crate) use self::signals::Signals;
use self::terminal::{Stopped, Terminal};
use crate::exit::Failure;

/// What is run, and how.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    pub(crate) policy: Policy,
    /// How long the command has to end by itself.
    pub(crate) grace: Duration,
    /// What a restart asks the command to end with.
    pub(crate) stop_signal: SignalNumber,
    /// What a new value of a variable leads to.
    pub(crate) on_change: OnChange,
    /// How long the secrets may take to be there.
    pub(crate) start_within: Duration,
}

/// What a new value of a variable of the command leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnChange {
    Restart,
    Signal(Signal),
    Ignore,
}

impl FromStr for OnChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("signal=")) {
            ("restart", _) => Ok(Self::Restart),
            ("ignore", _) => Ok(Self::Ignore),
            (_, Some(name)) => {
                let number: SignalNumber = name.parse().map_err(|error| format!("{error}"))?;
                let signal = Signal::from_named_raw(number.number());
                signal.map(Self::Signal).ok_or_else(|| format!("{number} cannot be sent"))
            }
            _ => Err("it is restart, signal=SIGHUP (or another one) or ignore".into()),
        }
    }
}

/// What reaches a supervisor from outside.
#[derive(Debug)]
pub(crate) struct Doors<'a> {
    pub(crate) signals: &'a mut Signals,
    /// Notifiers that want a restart.
    pub(crate) restarts: mpsc::Receiver<RestartRequest>,
    /// Somebody at the admin endpoint wants an end.
    pub(crate) quit: &'a Notify,
}

/// A command under supervision.
#[derive(Debug)]
pub(crate) struct Supervisor {
    settings: Settings,
    plan: Plan,
    kept: Kept,
    clock: Clock,
    life: Life,
    child: Option<Child>,
    terminal: Option<Terminal>,
    reaper: Reaper,
    /// Who is told when the command runs anew.
    waiting: Vec<oneshot::Sender<String>>,
    /// What the command's variables hold, by [`environment::Resolved::mark`].
    mark: u64,
    /// When to look for orphans or for the rest of a group again.
    look_at: Option<Instant>,
    failure: Option<Failure>,
}

impl Supervisor {
    pub(crate) fn new(settings: Settings, plan: Plan, kept: Kept, clock: Clock) -> Self {
        let stop_signal = Signal::from_named_raw(settings.stop_signal.number()).unwrap_or(Signal::TERM);
        let rules = Rules { policy: settings.policy, grace: settings.grace, stop_signal };
        Self {
            settings,
            plan,
            kept,
            clock,
            life: Life::new(rules),
            child: None,
            terminal: Terminal::of_stdin(),
            reaper: Reaper::new(),
            waiting: Vec::new(),
            mark: 0,
            look_at: None,
            failure: None,
        }
    }

    /// Runs the command to its end, and returns the exit code; `engine` is run beside it.
    ///
    /// # Errors
    /// The secrets are not there in time, the command cannot be started, or the engine ended.
    pub(crate) async fn run(
        mut self,
        mut doors: Doors<'_>,
        beginning: Beginning,
        engine: impl Future<Output = Failure>,
    ) -> Result<u8, Failure> {
        let mut children = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())
            .map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
        let beginning = beginning.wait(self.settings.start_within);
        tokio::pin!(beginning, engine);
        let mut settling = Settling::new(&self.kept);
        loop {
            if let Some(code) = self.life.is_over() {
                return self.failure.map_or(Ok(code), Err);
            }
            let clock = self.clock.clone();
            let now = || clock.instant();
            let act = tokio::select! {
                biased;
                signal = doors.signals.next() => self.signalled(signal),
                _ = children.recv() => self.look(),
                () = doors.quit.notified() => self.life.quit(now()),
                Some(request) = doors.restarts.recv() => self.restart(request),
                begun = &mut beginning, if self.life.is_waiting() => match begun {
                    Ok(()) => self.life.ready(now()),
                    Err(error) => return Err(error.into()),
                },
                () = settling.settled() => self.changed(),
                failure = &mut engine, if self.failure.is_none() => {
                    self.failure = Some(failure);
                    self.life.quit(now())
                }
                () = at(&clock, self.look_at) => self.look(),
                () = at(&clock, self.life.wake_at()) => self.life.tick(now()),
            };
            if let Some(act) = act {
                self.perform(act);
            }
        }
    }

    fn signalled(&mut self, signal: Signal) -> Option<Act> {
        debug!(signal = signal.as_raw(), "got a signal");
        let act = self.life.signalled(signal, self.clock.instant());
        if signal == Signal::TSTP && terminal::is_foreground_job() {
            self.child.iter().for_each(|child| child.send(Signal::TSTP));
            terminal::stop_own_job();
            return Some(Act::Send(Signal::CONT));
        }
        act
    }

    /// Sees what has become of the command and of orphans.
    fn look(&mut self) -> Option<Act> {
        let now = self.clock.instant();
        let was_paused = self.life.pauses_until().is_some();
        let mut act = None;
        if let Some(child) = &mut self.child {
            match child.look() {
                Some(Change::Ended(outcome)) => {
                    debug!(%outcome, "the command has ended");
                    if let Some(terminal) = &self.terminal {
                        terminal.take_back(child.pid());
                        if matches!(outcome, Outcome::Killed(_)) {
                            terminal.restore();
                        }
                    }
                    act = self.life.ended(outcome, child.has_rest(), now, fastrand::f64());
                }
                Some(Change::Stopped) => self.stopped(),
                None if self.life.awaits_rest() && !child.has_rest() => act = self.life.gone(now),
                None => {}
            }
        }
        let outcome = self.child.as_ref().and_then(Child::outcome);
        if let (false, Some(until), Some(outcome)) = (was_paused, self.life.pauses_until(), outcome) {
            let after = until.saturating_duration_since(now);
            warn!(%outcome, ?after, "the command has ended, and is started again");
        }
        let command = self.child.as_ref().filter(|_| outcome.is_none()).map(Child::pid);
        self.look_at = self.reaper.reap(command, now);
        if self.life.awaits_rest() {
            // Not every end of a process of the group is told to this program.
            self.look_at = Some(now + REST_EVERY);
        }
        act
    }

    fn stopped(&self) {
        let (Some(terminal), Some(child)) = (&self.terminal, &self.child) else { return };
        match terminal.stopped(child.pid()) {
            Stopped::Leave => return,
            Stopped::Continue => {}
            Stopped::StopToo => {
                terminal.take_back(child.pid());
                terminal::stop_own_job();
            }
        }
        terminal.lend(child.pid());
        child.send(Signal::CONT);
    }

    fn restart(&mut self, request: RestartRequest) -> Option<Act> {
        let (restart, act) = self.life.restart(request.grace, self.clock.instant());
        match restart {
            Restart::NotStarted => {
                // Whoever asked may have stopped waiting.
                request.answer.send("the command starts with it".into()).ok();
            }
            Restart::Underway => {
                info!(reason = request.reason, "restarts the command");
                self.waiting.push(request.answer);
            }
            // Dropped, the answer says so.
            Restart::Refused => {}
        }
        act
    }

    /// Sees whether new values are other ones in the command's variables, and does what is to be done about it.
    fn changed(&mut self) -> Option<Act> {
        if self.life.is_waiting() {
            return None;
        }
        match self.plan.resolve(|reference| self.kept.secret(reference)) {
            Ok(resolved) if resolved.mark == self.mark => {
                self.kept.confirm();
                None
            }
            Ok(resolved) => match self.settings.on_change {
                OnChange::Restart => {
                    let (restart, act) = self.life.restart(None, self.clock.instant());
                    if restart == Restart::Underway {
                        info!("restarts the command: a variable has a new value");
                    }
                    act
                }
                OnChange::Signal(signal) => {
                    self.mark = resolved.mark;
                    Some(Act::Send(signal))
                }
                OnChange::Ignore => None,
            },
            Err(failure) => {
                warn!(%failure, "the new secrets do not fit; the command goes on with the old ones");
                None
            }
        }
    }

    fn perform(&mut self, act: Act) {
        match (act, &self.child) {
            (Act::Start, _) => self.start(),
            (Act::Send(signal), Some(child)) => child.send(signal),
            (Act::Stop(signal), Some(child)) => {
                child.send(signal);
                // A process that is stopped gets it when it goes on.
                child.send(Signal::CONT);
            }
            (Act::Kill, Some(child)) => {
                warn!("the command has not ended in time, or somebody would not wait: kills it");
                child.send(Signal::KILL);
            }
            (_, None) => {}
        }
    }

    fn start(&mut self) {
        match self.try_start() {
            Ok(child) => {
                let pid = child.pid().as_raw_nonzero();
                if let Some(terminal) = &self.terminal {
                    terminal.lend(child.pid());
                    // It may have been stopped for reading before it was in the foreground.
                    child.send(Signal::CONT);
                }
                debug!(pid, "started the command");
                self.child = Some(child);
                for answer in self.waiting.drain(..) {
                    // Whoever asked may have stopped waiting.
                    answer.send(format!("the command runs anew as process {pid}")).ok();
                }
            }
            Err(failure) => {
                self.life.not_started(failure.code());
                self.failure = Some(failure);
            }
        }
    }

    /// Starts the command with the newest values, which nobody here has any more when this returns.
    fn try_start(&mut self) -> Result<Child, Failure> {
        let resolved = self.plan.resolve(|reference| self.kept.secret(reference))?;
        let (program, arguments) = self
            .settings
            .command
            .split_first()
            .ok_or_else(|| Failure::usage("there is no command to run"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        self.plan.apply(&resolved, &mut command);
        let child = Child::start(&mut command).map_err(|error| {
            let (code, reason) = outcome::not_started(&error);
            Failure::coded(format!("cannot run {}: {reason}", program.display()), code)
        })?;
        self.mark = resolved.mark;
        self.kept.confirm();
        Ok(child)
    }
}

async fn at(clock: &Clock, instant: Option<Instant>) {
    match instant {
        Some(instant) => clock.sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// How often it is looked whether the rest of a group has ended.
const REST_EVERY: Duration = Duration::from_millis(50);
