//! Runs the schedules, and what is asked for meanwhile: each rotation at its time, and what is left to do of those before.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};

use super::desk::{Desk, Look};
use super::pace::Pace;
use super::rotator::{Ask, Progress, Rotator};
use crate::clock::Clock;

/// Rotators that run until they are told to stop.
#[derive(Debug)]
pub struct Server {
    rotators: Vec<Rotator>,
    desks: Arc<[Desk]>,
    clock: Clock,
}

/// Asks a [`Server`] for rotations, and sees how they stand.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    desks: Arc<[Desk]>,
}

impl Server {
    /// Takes the rotators; nothing is asked or done yet.
    pub fn new(rotators: Vec<Rotator>, clock: &Clock) -> Self {
        let desks = rotators.iter().map(Desk::of).collect();
        Self { rotators, desks, clock: clock.clone() }
    }

    /// Returns what asks and sees, also while and after the server runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { desks: Arc::clone(&self.desks) }
    }

    /// Rotates until `shutdown` comes; a step that is under way is finished first.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let pairs = self.rotators.iter().zip(self.desks.iter());
        let all = join_all(pairs.map(|(rotator, desk)| keep(rotator, desk, &self.clock, stopped.clone())));
        tokio::pin!(all, shutdown);
        tokio::select! {
            _ = &mut all => return,
            () = &mut shutdown => {}
        }
        stop.send_replace(true);
        all.await;
    }
}

impl ServerHandle {
    /// Returns how each rotation stands, by the last look at it; nobody is asked for it.
    pub fn looks(&self) -> Vec<Look> {
        self.desks.iter().map(Desk::look).collect()
    }

    /// Tells whether what happened at `at` is answered already, by an emergency of this rotation that began later, or waits to begin.
    pub fn is_answered(&self, name: &str, at: Timestamp) -> bool {
        self.desk(name).is_some_and(|desk| desk.is_answered(at))
    }

    /// Has a rotation begin at once, the old value being given no time. It is tried until something is published, or the server ends.
    pub fn revoke(&self, name: &str, reason: String) {
        if let Some(desk) = self.desk(name) {
            desk.revoke(reason);
        }
    }

    fn desk(&self, name: &str) -> Option<&Desk> {
        self.desks.iter().find(|desk| desk.is_of(name))
    }
}

async fn keep(rotator: &Rotator, desk: &Desk, clock: &Clock, mut stopped: watch::Receiver<bool>) {
    let mut pace = Pace::default();
    let mut announced = None;
    let mut wanted: Option<Ask> = None;
    while !*stopped.borrow() {
        wanted = desk.take(clock.now()).or(wanted);
        let ask = wanted.clone().unwrap_or_default();
        let (is_published, advanced) = rotator.advance_telling(&ask).await;
        // It is there, with no time for the old value: what failed after that goes on from the record.
        wanted = wanted.filter(|_| !is_published);
        let wake_at = pace.next(advanced.as_ref(), clock.now(), fastrand::f64());
        match &advanced {
            Ok(progress) => announce(rotator, progress, &mut announced),
            Err(error) => {
                warn!(rotation = rotator.name(), %error, failures = pace.failures(), "cannot rotate now");
            }
        }
        desk.note(is_published, advanced);
        tokio::select! {
            () = clock.sleep_until_time(wake_at) => {}
            () = desk.asked() => {}
            // An error would be the end of whoever could stop this.
            _ = stopped.changed() => {}
        }
    }
}

fn announce(rotator: &Rotator, progress: &Progress, announced: &mut Option<Timestamp>) {
    if progress.next_at != *announced {
        *announced = progress.next_at;
        let (phase, name) = (progress.standing.course.phase().as_str(), rotator.name());
        match progress.next_at {
            Some(at) => info!(rotation = name, phase, next_at = %at, "waits"),
            None => info!(rotation = name, phase, "waits to be asked"),
        }
    }
}
