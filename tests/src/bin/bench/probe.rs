//! Logs in with what is on disk, as a new connection of an application does.

use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use keywheel_tests::Postgres;

/// A credential on disk, and where it is to be valid.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) postgres: &'a Postgres,
    /// Holds `USER:PASSWORD`.
    pub(crate) file: PathBuf,
}

/// What the logins came to.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    pub(crate) probes: usize,
    /// Refused, while the file still held what was refused.
    pub(crate) failed: usize,
    /// Refused, while the file already held another credential: nobody knows which one was in time.
    pub(crate) overtaken: usize,
    /// How often the file held another credential than before.
    pub(crate) changes: usize,
    pub(crate) windows: Vec<Window>,
}

/// A time in which the credential on disk let nobody in: from the first failed login to the next good one.
#[derive(Debug)]
pub(crate) struct Window {
    begins: Duration,
    ends: Duration,
    why: String,
}

impl Probe<'_> {
    /// Logs in every [`PACE`] for `span`, each time with what the file holds then.
    pub(crate) fn run(&self, span: Duration) -> Validity {
        let (mut validity, mut open, mut last) = (Validity::default(), None, None);
        let begun = Instant::now();
        let mut at = Duration::ZERO;
        while at < span {
            let credential = self.read();
            let login = self.login(credential.as_deref());
            validity.probes += 1;
            match login {
                Ok(()) => validity.windows.extend(open.take().map(|window| Window { ends: at, ..window })),
                Err(_) if self.read() != credential => validity.overtaken += 1,
                Err(why) => {
                    validity.failed += 1;
                    open.get_or_insert(Window { begins: at, ends: at, why });
                }
            }
            if last.is_some() && last != credential {
                validity.changes += 1;
            }
            last = credential;
            // A slow login makes the next one late, and not many of them follow at once.
            thread::sleep((at + PACE).saturating_sub(begun.elapsed()));
            at = begun.elapsed();
        }
        validity.windows.extend(open.map(|window| Window { ends: at, ..window }));
        validity
    }

    fn read(&self) -> Option<String> {
        std::fs::read_to_string(&self.file).ok()
    }

    fn login(&self, credential: Option<&str>) -> Result<(), String> {
        let (user, password) =
            credential.and_then(|text| text.split_once(':')).ok_or("no credential in the file")?;
        self.postgres.login(user, password, BOUND)
    }
}

impl Validity {
    /// Returns the longest window.
    pub(crate) fn longest(&self) -> Option<&Window> {
        self.windows.iter().max_by_key(|window| window.length())
    }

    /// Returns how long that was; nothing without one.
    pub(crate) fn longest_span(&self) -> Duration {
        self.longest().map(Window::length).unwrap_or_default()
    }

    /// Returns all windows together.
    pub(crate) fn invalid(&self) -> Duration {
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

const PACE: Duration = Duration::from_millis(100);
const BOUND: Duration = Duration::from_secs(5);
