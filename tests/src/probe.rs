//! Logs in to a database with the credential on disk, over and over, as an application's pool does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Postgres, wait};

/// A thread that logs in until it is finished. The file holds `USER:PASSWORD`.
#[derive(Debug)]
pub struct Probe {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sightings>>,
}

/// What a probe saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sightings {
    /// How often it logged in, or tried to.
    pub probes: u64,
    /// How often the database refused a credential that was still the one on disk afterwards.
    pub failures: u64,
    /// How often it refused one that had been replaced on disk in the meantime.
    pub overtaken: u64,
    /// The longest time from a refused login's beginning to the end of the next good one.
    pub longest_gap: Duration,
    /// The users that it was, in no order.
    pub users: BTreeSet<String>,
    /// The first refusals: when, counted from the start, and in the database's words.
    pub refusals: Vec<String>,
}

impl Probe {
    /// Starts to log in to `postgres` every `interval` with what is in `file` at that moment.
    pub fn start(postgres: &Arc<Postgres>, file: &Path, interval: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let prober = Prober {
            postgres: Arc::clone(postgres),
            file: file.to_owned(),
            interval,
            over: Arc::clone(&over),
        };
        Self { over, thread: Some(thread::spawn(move || prober.run())) }
    }

    /// Ends the probe and returns what it saw.
    pub fn finish(mut self) -> Sightings {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a probe is finished once");
        thread.join().expect("the probe's sightings")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

struct Prober {
    postgres: Arc<Postgres>,
    file: PathBuf,
    interval: Duration,
    over: Arc<AtomicBool>,
}

impl Prober {
    fn run(&self) -> Sightings {
        let mut seen = Sightings::default();
        let started = wait::monotonic();
        let mut failing_since = None;
        let mut next = started;
        while !self.over.load(Ordering::Relaxed) {
            let begun = wait::monotonic();
            let (user, password) = self.credential();
            let answer = self.postgres.login(&user, &password, LOGIN_BOUND);
            seen.probes += 1;
            match answer {
                Ok(()) => {
                    if let Some(since) = failing_since.take() {
                        seen.longest_gap = seen.longest_gap.max(wait::monotonic() - since);
                    }
                }
                Err(_) if self.credential() != (user.clone(), password) => seen.overtaken += 1,
                Err(words) => {
                    seen.failures += 1;
                    failing_since.get_or_insert(begun);
                    if seen.refusals.len() < ENOUGH_REFUSALS {
                        seen.refusals.push(format!("after {:?} as {user}: {words}", begun - started));
                    }
                }
            }
            seen.users.insert(user);
            next += self.interval;
            thread::sleep(next.saturating_sub(wait::monotonic()));
        }
        if let Some(since) = failing_since {
            seen.longest_gap = seen.longest_gap.max(wait::monotonic() - since);
        }
        seen
    }

    fn credential(&self) -> (String, String) {
        let text = fs::read_to_string(&self.file).expect("a delivered credential");
        let (user, password) = text.split_once(':').expect("USER:PASSWORD");
        (user.to_owned(), password.to_owned())
    }
}

const LOGIN_BOUND: Duration = Duration::from_secs(5);
const ENOUGH_REFUSALS: usize = 10;
