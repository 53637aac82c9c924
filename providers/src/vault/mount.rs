//! Which secrets engine serves a path: asked once per mount, whoever asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keywheel_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::sync::OnceCell;
use tracing::{debug, info};

use super::endpoint::Logical;
use super::error;
use super::session::Session;

/// A secrets engine at a path.
#[derive(Debug)]
pub(super) struct Mount {
    /// Its path, without slashes around it.
    pub(super) path: String,
    pub(super) engine: Engine,
    hides_metadata: AtomicBool,
}

/// What is mounted, as far as it is read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Engine {
    /// KV with one value per path.
    Kv1,
    /// KV with versions.
    Kv2,
    /// Anything else, by its own name.
    Other(String),
}

impl Engine {
    /// Tells whether a write replaces what a read finds.
    pub(super) fn stores_what_is_written(&self) -> bool {
        match self {
            Self::Kv1 | Self::Kv2 => true,
            Self::Other(kind) => kind == "cubbyhole",
        }
    }
}

/// The mounts that are known.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    known: Mutex<Vec<Arc<Mount>>>,
    given: Mutex<Vec<Arc<Mount>>>,
    flights: Mutex<HashMap<String, Arc<Flight>>>,
}

/// One question on its way, and whoever waits for its answer.
#[derive(Debug)]
struct Flight {
    path: String,
    answer: OnceCell<Result<Arc<Mount>>>,
}

impl Mounts {
    /// Returns the mount that serves `path`; asks the server unless it is known.
    ///
    /// # Errors
    /// The server does not say, or not to this token.
    pub(super) async fn find(&self, session: &Session, path: &str) -> Result<Arc<Mount>> {
        // Everything under one first segment waits for one answer: it is most often one mount.
        let key = path.split('/').next().unwrap_or_default();
        loop {
            if let Some(mount) = self.known(path) {
                return Ok(mount);
            }
            let flight = self.board(key, path);
            let answer = flight.answer.get_or_init(|| self.look_up(session, &flight.path)).await.clone();
            self.leave(key, &flight);
            match answer {
                Ok(mount) if mount.serves(path) => return Ok(mount),
                Err(error) if flight.path == path || !is_about_path(&error) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Returns the mount that a reference itself describes: its first segment, of that KV version.
    pub(super) fn given(&self, path: &str, engine: Engine) -> Arc<Mount> {
        let name = path.split('/').next().unwrap_or_default();
        let mut given = lock(&self.given);
        if let Some(mount) = given.iter().find(|mount| mount.path == name && mount.engine == engine) {
            return Arc::clone(mount);
        }
        let mount = Arc::new(Mount::new(name.to_owned(), engine));
        given.push(Arc::clone(&mount));
        mount
    }

    /// Forgets `mount`, so that it is asked for again: another engine may have taken its place.
    pub(super) fn forget(&self, mount: &Arc<Mount>) {
        lock(&self.known).retain(|known| !Arc::ptr_eq(known, mount));
    }

    /// Returns the mount that serves `path`, if it is known.
    pub(super) fn known(&self, path: &str) -> Option<Arc<Mount>> {
        lock(&self.known).iter().find(|mount| mount.serves(path)).cloned()
    }

    fn board(&self, key: &str, path: &str) -> Arc<Flight> {
        let mut flights = lock(&self.flights);
        let flight = flights
            .entry(key.to_owned())
            .or_insert_with(|| Arc::new(Flight { path: path.to_owned(), answer: OnceCell::new() }));
        Arc::clone(flight)
    }

    fn leave(&self, key: &str, flight: &Arc<Flight>) {
        let mut flights = lock(&self.flights);
        if flights.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.remove(key);
        }
    }

    async fn look_up(&self, session: &Session, path: &str) -> Result<Arc<Mount>> {
        let answer =
            session.ask("find mount", &Logical::read(format!("sys/internal/ui/mounts/{path}"))).await?;
        if !answer.is_success() {
            return Err(match answer.status {
                403 => forbidden(session),
                _ => error::refused(&answer),
            });
        }
        let found = answer.parse::<MountAnswer>()?.data;
        let version = found.options.and_then(|options| options.version);
        let engine = match (found.kind.as_str(), version.as_deref()) {
            ("kv", Some("2")) => Engine::Kv2,
            ("kv" | "generic", _) => Engine::Kv1,
            _ => Engine::Other(found.kind),
        };
        // Login methods are named without the folder that they are all in.
        let folder = if path.starts_with("auth/") { "auth/" } else { "" };
        let mount = Arc::new(Mount::new(format!("{folder}{}", found.path.trim_matches('/')), engine));
        if !mount.serves(path) {
            let reason = "the server named a mount that does not serve the path";
            return Err(Error::new(ErrorKind::Invalid, "find mount", reason).with("path", path));
        }
        debug!(mount = mount.path, engine = ?mount.engine, "found the mount");
        lock(&self.known).push(Arc::clone(&mount));
        Ok(mount)
    }
}

impl Mount {
    fn new(path: String, engine: Engine) -> Self {
        Self { path, engine, hides_metadata: AtomicBool::new(false) }
    }

    /// Returns the part of `path` below the mount; `None` for the mount itself and for any other path.
    pub(super) fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.path.as_str())?.strip_prefix('/')
    }

    /// Tells whether the policy keeps this token from reading metadata.
    pub(super) fn hides_metadata(&self) -> bool {
        self.hides_metadata.load(Ordering::Relaxed)
    }

    /// Notes that the policy keeps this token from reading metadata.
    pub(super) fn note_hidden_metadata(&self) {
        if !self.hides_metadata.swap(true, Ordering::Relaxed) {
            info!(
                mount = self.path,
                "the policy does not allow `read` on {}/metadata/*: changes are found by reading values",
                self.path
            );
        }
    }

    fn serves(&self, path: &str) -> bool {
        path == self.path || self.below(path).is_some()
    }
}

#[derive(Deserialize)]
struct MountAnswer {
    data: Found,
}

#[derive(Deserialize)]
struct Found {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    version: Option<String>,
}

fn forbidden(session: &Session) -> Error {
    let reason =
        "the server does not say what is mounted there: nothing is, or the policy allows nothing below it";
    Error::new(ErrorKind::PermissionDenied, "find mount", reason).with("status", 403).with_help(format!(
        "check the path and the policy{}; where only this question is forbidden, add `?kv=2` (or `?kv=1`) to the reference",
        session.doubt()
    ))
}

/// Tells whether an error may be different for another path of the same first segment.
fn is_about_path(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::Invalid)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
