//! Logs in to a database with the credential on disk, over and over, as an application's pool does.

use std::collections::BTreeSet;
use std::fmt;
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
    pub probes: usize,
    /// How often the database refused a credential that was still the one on disk afterwards.
    pub failed: usize,
    /// How often it refused one that had been replaced on disk in the meantime: nobody knows which was in time.
    pub overtaken: usize,
    /// How often the file held another credential than before.
    pub changes: usize,
    /// The users that it was.
    pub users: BTreeSet<String>,
    /// The times in which the credential on disk let nobody in.
    pub windows: Vec<Window>,
}

/// A time in which the credential on disk let nobody in: from the beginning of the first refused login to the end of the next good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    begins: Duration,
    ends: Duration,
    why: String,
}

impl Sightings {
    /// Returns the longest window.
    pub fn longest(&self) -> Option<&Window> {
        self.windows.iter().max_by_key(|window| window.length())
    }

    /// Returns how long that was; nothing without one.
    pub fn longest_gap(&self) -> Duration {
        self.longest().map(Window::length).unwrap_or_default()
    }

    /// Returns all windows together.
    pub fn invalid(&self) -> Duration {
        self.windows.iter().map(Window::length).sum()
    }
}

impl Window {
    fn length(&self) -> Duration {
        self.ends.saturating_sub(self.begins)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (begins, length) = (self.begins.as_secs_f64(), self.length().as_secs_f64());
        write!(f, "{length:.2} s from {begins:.1} s on: {}", self.why)
    }
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
        let (mut seen, mut open, mut last) = (Sightings::default(), None, None);
        let started = wait::monotonic();
        while !self.over.load(Ordering::Relaxed) {
            let begins = wait::monotonic() - started;
            let credential = self.credential();
            let (user, password) = &credential;
            let answer = self.postgres.login(user, password, LOGIN_BOUND);
            let ends = wait::monotonic() - started;
            seen.probes += 1;
            match answer {
                Ok(()) => seen.windows.extend(open.take().map(|window| Window { ends, ..window })),
                Err(_) if self.credential() != credential => seen.overtaken += 1,
                Err(words) => {
                    seen.failed += 1;
                    open.get_or_insert(Window { begins, ends, why: format!("{user}: {words}") });
                }
            }
            seen.users.insert(user.clone());
            seen.changes += usize::from(last.is_some_and(|last| last != credential));
            last = Some(credential);
            // A slow login makes the next one late, and not many of them follow at once.
            thread::sleep((started + begins + self.interval).saturating_sub(wait::monotonic()));
        }
        let ends = wait::monotonic() - started;
        seen.windows.extend(open.map(|window| Window { ends, ..window }));
        seen
    }

    fn credential(&self) -> (String, String) {
        let text = fs::read_to_string(&self.file).expect("a delivered credential");
        let (user, password) = text.split_once(':').expect("USER:PASSWORD");
        (user.to_owned(), password.to_owned())
    }
}

const LOGIN_BOUND: Duration = Duration::from_secs(5);
