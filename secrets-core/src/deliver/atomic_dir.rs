//! [`AtomicDir`]: the delivery directory, whose content changes at one moment and as a whole.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;
use tracing::warn;

use super::compare::{self, Change};
use super::failure::Failure;
use super::folder;
use super::generation::{Current, DATA, Generation, Names};
use super::links;
use super::manifest::{Manifest, Sources};
use super::publish::Publication;
use super::recover::recover;
use super::remove;
use super::retired::Retired;
use super::staged::Staged;
use super::step::Step;
use super::{swap, volume};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::payload::{Owner, Payload};

/// Where and how one delivery is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The delivery's name, for the manifest.
    pub name: String,
    /// The directory; it and its missing parents are made with 0755.
    pub directory: PathBuf,
    /// Who gets the files; the program's own user, and the group that the kernel gives, where it is not said.
    pub owner: Option<Owner>,
    /// Whether the directory may be on a volume that is not kept in memory.
    pub allow_disk: bool,
    /// How long a generation is kept after it was replaced.
    pub overlap: Duration,
}

/// What a write did.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Written {
    /// The current generation is what was wanted already; nothing was touched.
    Unchanged,
    /// A new generation is visible.
    Published {
        /// The name of its folder.
        generation: String,
        /// What differs from the one before.
        changes: Vec<Change>,
    },
}

/// A delivery directory, held open.
///
/// Every method blocks; call them where blocking is allowed. One directory has one `AtomicDir` at a time: a second one would take the
/// first one's retired and half-made generations for what a crash left.
#[derive(Debug)]
pub struct AtomicDir {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) root: OwnedFd,
    pub(super) durable: bool,
    names: Names,
    pub(super) retired: Retired,
    /// The generation that may have to come back.
    pub(super) held: Option<Generation>,
}

impl AtomicDir {
    /// The most replaced generations that are kept, however long `overlap` is.
    pub const MOST_RETIRED: usize = Retired::MOST;

    /// Opens the directory, making it where it is missing, and recovers what a crash left.
    ///
    /// Afterwards there is at most one generation, the one that `..data` names, with all its visible links; there is no `..data_tmp`, no
    /// other generation, and no visible link that leads nowhere. What could not be removed is logged and does not stop the delivery.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) when the volume is not kept in memory and `allow_disk` is not set: nothing is made then.
    /// [`Deliver`](crate::ErrorKind::Deliver) when the directory cannot be made, opened or listed.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self> {
        Self::open_holding(settings, clock, None)
    }

    /// Opens the directory as [`open`](Self::open) does, and [holds](Self::hold) the generation `held` where it is still there.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_holding(settings: Settings, clock: Clock, held: Option<&str>) -> Result<Self> {
        let held = held.and_then(Generation::parse);
        let opened = volume::open_or_make(&settings.directory, settings.allow_disk);
        let (root, volume) = opened.map_err(|error| located(error, &settings))?;
        if volume.is_memory() && swap::may_take(&root) {
            warn!(
                delivery = settings.name,
                directory = %settings.directory.display(),
                "this machine has swap, which may take the files to a disk; mount the tmpfs with `noswap` (Linux 6.4)"
            );
        }
        recover(&root, held.as_ref(), &settings).map_err(|failure| located(failure.into(), &settings))?;
        Ok(Self {
            settings,
            names: Names::new(clock.clone()),
            clock,
            root,
            durable: !volume.is_memory(),
            retired: Retired::default(),
            held,
        })
    }

    /// Makes the directory show exactly the files of `payload`; `sources` goes into the manifest.
    ///
    /// Nothing is written when something that Keywheel did not make is in the place of a visible name. Then:
    ///
    /// 1. Compare with the current generation: paths, bytes, modes and owner. When all are the same, only links are mended (7, 8).
    /// 2. Make the folder of the new generation, which nobody else may enter yet.
    /// 3. Write each file: exclusively, then its owner, then its mode.
    /// 4. Write the manifest, and let everybody enter the folder. On a disk, files and folders are synced.
    /// 5. Link `..data_tmp` to the new generation.
    /// 6. Rename `..data_tmp` to `..data`: the only moment at which anything changes.
    /// 7. Make the visible links that are missing.
    /// 8. Remove the visible links that are no longer wanted.
    ///
    /// A crash before 6 leaves the old generation, one after it the new one; [`open`](Self::open) does the rest. The replaced generation
    /// stays for readers that resolved `..data` before, until [`prune`](Self::prune). A full volume is tried once more
    /// without the retired generations.
    ///
    /// # Errors
    /// [`Deliver`](crate::ErrorKind::Deliver), naming the file and the system's reason. Before 6 the half-made generation is removed
    /// and the old one is untouched; a full volume makes a temporary error, which says how much was needed and how much is free. After
    /// 6 the new generation is visible and the next write mends its links.
    pub fn write(&mut self, payload: &Payload, sources: &Sources) -> Result<Written> {
        match self.stage(payload, sources)? {
            Some(staged) => self.publish(staged),
            None => Ok(Written::Unchanged),
        }
    }

    /// Returns what [`write`](Self::write) would change in the directory of `settings`, which need not exist. Writes nothing.
    ///
    /// # Errors
    /// [`Deliver`](crate::ErrorKind::Deliver) when the directory cannot be read, or something foreign is in the place of a visible name.
    pub fn plan(settings: &Settings, payload: &Payload) -> Result<Vec<Change>> {
        let planned = || match folder::open_path(&settings.directory) {
            Err(Errno::NOENT) => Ok(compare::changes(None, payload, settings.owner)),
            Err(errno) => Err(Failure::of("open", settings.directory.display())(errno).into()),
            Ok(root) => {
                links::refuse_foreign(&root, &links::visible(payload))?;
                let current = Current::find(&root)?;
                let folder = current.as_ref().map(|current| &current.folder);
                Ok(compare::changes(folder, payload, settings.owner))
            }
        };
        planned().map_err(|error| located(error, settings))
    }

    /// Checks that the directory of `settings` is, or would be made, on a volume that it may be on. Writes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open) has for the volume.
    pub fn check_volume(settings: &Settings) -> Result<()> {
        volume::check(&settings.directory, settings.allow_disk).map_err(|error| located(error, settings))
    }

    /// Makes the directory of `settings` where it is missing, and nothing in it.
    ///
    /// # Errors
    /// As [`open`](Self::open) has for the volume and the directory.
    pub fn make(settings: &Settings) -> Result<()> {
        let made = volume::open_or_make(&settings.directory, settings.allow_disk);
        made.map(drop).map_err(|error| located(error, settings))
    }

    /// Returns the manifest of the current generation, or `None` when there is no generation or it has no manifest.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is not what [`write`](Self::write) made;
    /// [`Deliver`](crate::ErrorKind::Deliver) when it cannot be read.
    pub fn read_manifest(&self) -> Result<Option<Manifest>> {
        let read = || match Current::find(&self.root)? {
            Some(current) => Manifest::read(&current.folder),
            None => Ok(None),
        };
        read().map_err(|error| located(error, &self.settings))
    }

    /// Returns the name of the current generation's folder, where there is one.
    ///
    /// # Errors
    /// [`Deliver`](crate::ErrorKind::Deliver) when `..data` cannot be read.
    pub fn current_generation(&self) -> Result<Option<String>> {
        let current = Current::find(&self.root).map_err(|failure| located(failure.into(), &self.settings))?;
        Ok(current.map(|current| current.name.to_string()))
    }

    /// Returns when the next retired generation is due to go, or `None` when there is none.
    pub fn next_prune_at(&self) -> Option<Instant> {
        self.retired.next_at()
    }

    /// Removes the retired generations whose `overlap` has passed, and returns how many there were.
    ///
    /// # Errors
    /// [`Deliver`](crate::ErrorKind::Deliver), naming the first that could not be removed. It is not tried again before the next
    /// [`open`](Self::open) or full volume.
    pub fn prune(&mut self) -> Result<usize> {
        let due = self.retired.take_due(self.clock.instant());
        remove::retired(&self.root, &due).map_err(|failure| located(failure.into(), &self.settings))
    }

    /// Steps 1 to 4 of [`write`](Self::write); where nothing changes, 7 and 8.
    pub(super) fn try_stage(&mut self, payload: &Payload, sources: &Sources) -> Result<Option<Staged>> {
        let visible = links::visible(payload);
        links::refuse_foreign(&self.root, &visible)?;
        // 1
        let current = Current::find(&self.root)?;
        let folder = current.as_ref().map(|current| &current.folder);
        let changes = compare::changes(folder, payload, self.settings.owner);
        let unchanged = changes.is_empty() && folder.is_some_and(Manifest::is_in);
        Step::Compared.done(DATA);
        if unchanged {
            links::mend(&self.root, &visible)?;
            return Ok(None);
        }
        // 2 to 4
        let publication = Publication {
            root: &self.root,
            settings: &self.settings,
            durable: self.durable,
            payload,
            sources,
        };
        let generation = match publication.stage(&mut self.names) {
            Err(failure)
                if failure.is_full()
                    && make_room(&self.root, self.held.as_ref(), &mut self.retired, &self.settings) =>
            {
                publication.stage(&mut self.names)
            }
            other => other,
        }
        .map_err(|failure| publication.explain(failure, &mut self.names))?;
        let visible = visible.into_iter().map(str::to_owned).collect();
        Ok(Some(Staged { generation, changes, visible }))
    }
}

/// Removes every generation but the current one and the one that is held, and tells whether that freed anything.
fn make_room(root: &OwnedFd, held: Option<&Generation>, retired: &mut Retired, settings: &Settings) -> bool {
    retired.take_all();
    let freed = remove::all_but(root, held);
    freed.map_or_else(
        |failure| {
            failure.log(settings, "remove the retired generations");
            false
        },
        |removed| removed > 0,
    )
}

pub(super) fn located(error: Error, settings: &Settings) -> Error {
    error.with("directory", settings.directory.display())
}
