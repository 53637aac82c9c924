//! The newest versions of many secrets with one request.
//!
//! OpenBao lists what is below a path together with every key's versions (`detailed-metadata`). Polls of the same prefix that come together share
//! one such list. A list is begun after everybody who shares it has asked, so that nobody is told what was true before the question. Where
//! the server has no such list, or the policy does not allow it, each secret is asked for by itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keywheel_core::{Clock, Error, Result};
use tokio::sync::OnceCell;
use tracing::info;

use super::kv::{self, Listing, Newest};
use super::mount::Mount;
use super::session::Session;

/// The prefixes whose secrets are polled.
#[derive(Debug)]
pub(super) struct Survey {
    clock: Clock,
    prefixes: Mutex<HashMap<String, Arc<Prefix>>>,
}

/// A folder of secrets.
#[derive(Debug, Default)]
struct Prefix {
    /// The question that others may still join.
    boarding: Mutex<Option<Arc<Flight>>>,
    is_unlisted: AtomicBool,
    was_listed: AtomicBool,
    /// How many secrets there were when they were listed last.
    size: AtomicUsize,
}

/// One list on its way, and whoever waits for it.
#[derive(Debug, Default)]
struct Flight {
    passengers: AtomicUsize,
    /// Nothing where too few ask: a list would cost the server more than it saves.
    answer: OnceCell<Result<Option<Arc<Listing>>, Error>>,
}

impl Survey {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, prefixes: Mutex::default() }
    }

    /// Names the folder of `path` (below `mount`) if its secrets are asked for together.
    pub(super) fn group(&self, mount: &str, path: &str) -> Option<String> {
        let (folder, _) = split(path);
        let name = format!("{mount}/{folder}");
        let unlisted = lock(&self.prefixes).get(&name).is_some_and(|prefix| prefix.is_unlisted());
        (!unlisted).then_some(name)
    }

    /// Asks for the newest version of `path` below `mount`, together with others.
    ///
    /// # Errors
    /// No answer, or one of another shape.
    pub(super) async fn newest(&self, session: &Session, mount: &Mount, path: &str) -> Result<Newest> {
        let (folder, key) = split(path);
        let prefix = Arc::clone(lock(&self.prefixes).entry(format!("{}/{folder}", mount.path)).or_default());
        if prefix.is_unlisted() {
            return kv::newest(session, mount, path).await;
        }
        let flight = prefix.board();
        let list = || async {
            self.clock.sleep_until(self.clock.instant() + BOARDING).await;
            prefix.depart(&flight);
            if !prefix.is_worth_it(flight.passengers.load(Ordering::Relaxed)) {
                return Ok(None);
            }
            kv::list(session, mount, folder).await.map(|listing| Some(Arc::new(listing)))
        };
        let Some(listing) = flight.answer.get_or_init(list).await.clone()? else {
            return kv::newest(session, mount, path).await;
        };
        match &*listing {
            Listing::Found(newest) => {
                prefix.note_listed(mount, folder, newest.len());
                Ok(newest.get(key).cloned().unwrap_or(Newest::Unclear))
            }
            // All secrets of the folder are gone, for now.
            Listing::Nothing if prefix.was_listed.load(Ordering::Relaxed) => Ok(Newest::Unclear),
            Listing::Nothing => {
                prefix.note_unlisted(mount, folder, "the server does not list versions");
                kv::newest(session, mount, path).await
            }
            Listing::Unreadable => {
                prefix.note_unlisted(mount, folder, "the server's list of versions cannot be read");
                kv::newest(session, mount, path).await
            }
            Listing::Refused(identity) => {
                let newest = kv::newest(session, mount, path).await?;
                if !matches!(newest, Newest::Hidden) && *identity == session.identity() {
                    // The same token may read the metadata: so it is the policy, and not the token's end.
                    prefix.note_unlisted(mount, folder, "the policy does not allow versions to be listed");
                }
                Ok(newest)
            }
        }
    }
}

impl Prefix {
    fn is_unlisted(&self) -> bool {
        self.is_unlisted.load(Ordering::Relaxed)
    }

    /// Tells whether a list costs the server less than what `passengers` would ask by themselves.
    fn is_worth_it(&self, passengers: usize) -> bool {
        passengers >= WORTH_IT && passengers * MOST_OTHERS >= self.size.load(Ordering::Relaxed)
    }

    fn board(&self) -> Arc<Flight> {
        let mut boarding = lock(&self.boarding);
        let flight = boarding.get_or_insert_default();
        flight.passengers.fetch_add(1, Ordering::Relaxed);
        Arc::clone(flight)
    }

    fn depart(&self, flight: &Arc<Flight>) {
        let mut boarding = lock(&self.boarding);
        if boarding.as_ref().is_some_and(|boarding| Arc::ptr_eq(boarding, flight)) {
            *boarding = None;
        }
    }

    fn note_listed(&self, mount: &Mount, folder: &str, size: usize) {
        self.size.store(size, Ordering::Relaxed);
        if !self.was_listed.swap(true, Ordering::Relaxed) {
            info!(
                mount = mount.path,
                folder, "one request asks for the versions of all secrets of the folder"
            );
        }
    }

    fn note_unlisted(&self, mount: &Mount, folder: &str, why: &str) {
        if !self.is_unlisted.swap(true, Ordering::Relaxed) {
            info!(
                mount = mount.path,
                folder,
                "{why} (`list` on {}/detailed-metadata/{folder}): each secret of the folder is asked for by itself",
                mount.path
            );
        }
    }
}

/// Splits a path below a mount into its folder, with a slash at the end unless it is empty, and its key.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |at| at + 1))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a list waits for others who want it.
const BOARDING: Duration = Duration::from_millis(5);
/// From how many secrets on a list is asked for.
const WORTH_IT: usize = 3;
/// How many secrets of a folder are listed for one that is asked for, at most.
const MOST_OTHERS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_folder_and_a_key() {
        assert_eq!(split("orders/db"), ("orders/", "db"));
        assert_eq!(split("a/b/c"), ("a/b/", "c"));
        assert_eq!(split("db"), ("", "db"));
    }
}
