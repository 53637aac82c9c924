//! Hints that a file or folder may have changed, from inotify(7).
//!
//! What is watched are folders, never files: a file that is renamed over is another file, and its watch would stay with the old one. For
//! each reference these are the folders in which its path could be given another turn ([`Route`]); each is watched once, however many
//! references go through it. So all of these are seen: a write in place (when the writer closes the file), a rename over the file, the
//! kubelet's swap of `..data`, a link on the way that is pointed elsewhere, and a folder that is deleted and made again.
//!
//! A change may move the route itself, so each read of a watched reference looks it up again first. A burst of events is one hint, or a few:
//! the channel holds no more than one that nobody has seen. A hint may come early (a file is there before its content is) or without need.
//!
//! Not seen, and left to the timer: a folder further up that is renamed away, a writer that keeps its file open, and what network file
//! systems do not tell.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::place::Place;
use super::route::{FolderId, Route};

/// Watches the folders of all references of one provider. Its one thread begins with the first reference and ends when this is dropped.
#[derive(Default)]
pub(super) struct Watches {
    /// Taken before the board. The thread takes the board alone, while whoever has the watcher may wait for the thread.
    watcher: Mutex<Option<RecommendedWatcher>>,
    board: Arc<Mutex<Board>>,
    warned: AtomicBool,
}

impl Watches {
    /// Returns the hint for `place`; `None` when it cannot be watched, so that it has to be polled.
    pub(super) fn subscribe(&self, place: Place) -> Option<watch::Receiver<()>> {
        let mut watcher = lock(&self.watcher);
        let hint = lock(&self.board).subscribe(place.clone());
        match self.arm(&mut watcher, &place) {
            Ok(()) => Some(hint),
            Err(error) => {
                self.report(&place, &error);
                None
            }
        }
    }

    /// Follows `place` to where it leads now, if somebody has subscribed to it.
    pub(super) fn renew(&self, place: &Place) {
        if lock(&self.board).subscriptions.contains_key(place)
            && let Err(error) = self.arm(&mut lock(&self.watcher), place)
        {
            self.report(place, &error);
        }
    }

    /// Watches each folder of the route that is not watched yet, and looks whether the route stayed the same meanwhile.
    fn arm(&self, watcher: &mut Option<RecommendedWatcher>, place: &Place) -> notify::Result<()> {
        const TRIES: usize = 8;
        let watcher = match watcher {
            Some(watcher) => watcher,
            None => watcher.insert(self.start()?),
        };
        for _ in 0..TRIES {
            let change = lock(&self.board).reroute(place, Route::of(&place.full_path()));
            if change.is_empty() {
                return Ok(());
            }
            for folder in change.unwatch {
                if let Err(error) = watcher.unwatch(&folder) {
                    debug!(folder = %folder.display(), %error, "the folder's watch is gone already");
                }
            }
            let mut failed = None;
            for folder in change.watch {
                if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                    lock(&self.board).forget(&folder);
                    failed = Some(error).filter(|error| !is_gone(error)).or(failed);
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        // It changes all the time, so there will be another hint.
        Ok(())
    }

    fn start(&self) -> notify::Result<RecommendedWatcher> {
        let board = Arc::clone(&self.board);
        notify::recommended_watcher(move |event| lock(&board).notice(event))
    }

    fn report(&self, place: &Place, error: &notify::Error) {
        let file = place.full_path();
        if !self.warned.swap(true, Ordering::Relaxed) {
            warn!(
                file = %file.display(), %error,
                "cannot watch for changes, so files are polled; the limits are fs.inotify.max_user_watches and max_user_instances"
            );
        } else {
            debug!(file = %file.display(), %error, "cannot watch for changes");
        }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.board).folders.keys()).finish()
    }
}

/// Who waits for what, shared with the watcher's thread.
#[derive(Default)]
struct Board {
    subscriptions: HashMap<Place, Subscription>,
    folders: HashMap<PathBuf, Folder>,
}

#[derive(Default)]
struct Subscription {
    hint: watch::Sender<()>,
    route: Route,
}

#[derive(Default)]
struct Folder {
    /// How many turns are in it.
    turns: usize,
    watch: Watch,
}

/// What is known of the watch on a folder's path.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Watch {
    /// There is none.
    #[default]
    None,
    /// It is on this folder.
    On(FolderId),
    /// It ended, or is on a folder that has another path now.
    Ended,
}

/// What the watcher has to do for a new route. The board has noted it already.
#[derive(Default)]
struct Change {
    unwatch: Vec<PathBuf>,
    watch: Vec<PathBuf>,
}

impl Change {
    fn is_empty(&self) -> bool {
        self.unwatch.is_empty() && self.watch.is_empty()
    }
}

impl Board {
    /// Adds a receiver, and lets those go that nobody holds any more. Their folders are unwatched with the next change.
    fn subscribe(&mut self, place: Place) -> watch::Receiver<()> {
        let hint = self.subscriptions.entry(place).or_default().hint.subscribe();
        let gone = self.subscriptions.extract_if(|_, subscription| subscription.hint.receiver_count() == 0);
        for (_, subscription) in gone {
            leave(&mut self.folders, &subscription.route);
        }
        hint
    }

    fn reroute(&mut self, place: &Place, route: Route) -> Change {
        let Some(subscription) = self.subscriptions.get_mut(place) else {
            return Change::default();
        };
        for turn in route.turns() {
            self.folders.entry(turn.folder.clone()).or_default().turns += 1;
        }
        leave(&mut self.folders, &subscription.route);
        let mut change = Change::default();
        for turn in route.turns() {
            let watch = turn.id.map_or(Watch::None, Watch::On);
            if let Some(folder) = self.folders.get_mut(&turn.folder)
                && (folder.watch != watch || watch == Watch::None)
            {
                // Noted before it is true: an event that ends the watch at once then finds it here.
                if std::mem::replace(&mut folder.watch, watch) != Watch::None {
                    change.unwatch.push(turn.folder.clone());
                }
                change.watch.push(turn.folder.clone());
            }
        }
        change.unwatch.extend(self.folders.extract_if(|_, folder| folder.turns == 0).map(|(path, _)| path));
        subscription.route = route;
        change
    }

    fn forget(&mut self, folder: &Path) {
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.watch = Watch::None;
        }
    }

    fn notice(&mut self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            // Events were lost.
            _ => return self.subscriptions.values().for_each(Subscription::fire),
        };
        if !is_change(event.kind) {
            return;
        }
        for path in &event.paths {
            if ends_watches(event.kind) {
                // The watcher drops the watches on the folder and below it, even one that was just made on its successor.
                let below = self.folders.iter_mut().filter(|(folder, _)| folder.starts_with(path));
                below.for_each(|(_, folder)| folder.watch = Watch::Ended);
            }
            for subscription in self.subscriptions.values() {
                if subscription.route.turns().iter().any(|turn| turn.is_at(path)) {
                    subscription.fire();
                }
            }
        }
    }
}

impl Subscription {
    fn fire(&self) {
        self.hint.send_replace(());
    }
}

fn leave(folders: &mut HashMap<PathBuf, Folder>, route: &Route) {
    for turn in route.turns() {
        if let Some(folder) = folders.get_mut(&turn.folder) {
            folder.turns -= 1;
        }
    }
}

/// Tells whether an event can mean other content. A write in progress does not: the end of it does.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => false,
        _ => true,
    }
}

fn ends_watches(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::Both))
    )
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
