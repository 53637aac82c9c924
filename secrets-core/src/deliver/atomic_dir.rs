//! [`AtomicDir`]: the delivery directory, whose content changes at one moment and as a whole.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;

use super::compare::{self, Change};
use super::failure::Failure;
use super::folder;
use super::generation::{Current, DATA, Names};
use super::links;
use super::manifest::{Manifest, Sources};
use super::publish::Publication;
use super::recover::recover;
use super::remove;
use super::retired::Retired;
use super::step::Step;
use super::volume;
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
    settings: Settings,
    clock: Clock,
    root: OwnedFd,
    durable: bool,
    names: Names,
    retired: Retired,
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
        let opened = volume::open_or_make(&settings.directory, settings.allow_disk);
        let (root, volume) = opened.map_err(|error| located(error, &settings))?;
<<<<<<< HEAD
        recover(&root, &settings).map_err(|failure| located(failure.into(), &settings))?;
        Ok(Self {
            settings,
            names: Names::new(clock.clone()),
            clock,
            root,
            durable: !volume.is_memory(),
            retired: Retired::default(),
        })
=======
        let directory =
            Self { settings, clock, root, on_disk: !volume.is_memory(), named_at: None, retired: Vec::new() };
        directory.recover().map_err(|failure| located(failure.into(), &directory.settings))?;
        Ok(directory)
>>>>>>> fb65043 (Test retries and time-outs with paused time)
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
    /// [`Deliver`](crate::ErrorKind::Deliver), naming the file and the system's reason. Before 6 the half-made generation is removed and the old one is
    /// untouched; a full volume makes a temporary error, which says how much was needed and how much is free. After 6
    /// the new generation is visible and the next write mends its links.
    pub fn write(&mut self, payload: &Payload, sources: &Sources) -> Result<Written> {
        self.try_write(payload, sources).map_err(|error| located(error, &self.settings))
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

    /// Returns the manifest of the current generation, or `None` when there is no generation or it has no manifest.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is not what [`write`](Self::write) made; [`Deliver`](crate::ErrorKind::Deliver) when it cannot be read.
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
<<<<<<< HEAD
        let due = self.retired.take_due(self.clock.instant());
        remove::retired(&self.root, &due).map_err(|failure| located(failure.into(), &self.settings))
=======
        let now = self.clock.instant();
        let due: Vec<Retired> = self.retired.extract_if(.., |retired| retired.until <= now).collect();
        self.remove_unless_current(&due).map_err(|failure| located(failure.into(), &self.settings))
>>>>>>> fb65043 (Test retries and time-outs with paused time)
    }

    fn try_write(&mut self, payload: &Payload, sources: &Sources) -> Result<Written> {
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
            return Ok(Written::Unchanged);
        }
        // 2 to 6
        let publication = Publication {
            root: &self.root,
            settings: &self.settings,
            durable: self.durable,
            payload,
            sources,
        };
        let generation = match publication.publish(&mut self.names) {
            Err(failure) if failure.is_full() && make_room(&self.root, &mut self.retired, &self.settings) => {
                publication.publish(&mut self.names)
            }
            other => other,
        }
        .map_err(|failure| publication.explain(failure, &mut self.names))?;
        if let Some(Current { name, .. }) = current {
            let now = self.clock.instant();
            let until = now
                .checked_add(self.settings.overlap)
                .unwrap_or(now + LONGEST_OVERLAP);
            let surplus = self.retired.add(name, until);
            if let Err(failure) = remove::retired(&self.root, &surplus) {
                failure.log(&self.settings, "remove a retired generation");
            }
        }
        // 7 and 8
        links::mend(&self.root, &visible)?;
        Ok(Written::Published { generation: generation.to_string(), changes })
    }
}

<<<<<<< HEAD
/// Removes every generation but the current one, and tells whether that freed anything.
fn make_room(root: &OwnedFd, retired: &mut Retired, settings: &Settings) -> bool {
    retired.clear();
    let freed = remove::all_but_current(root);
    freed.map_or_else(
        |failure| {
            failure.log(settings, "remove the retired generations");
            false
        },
        |removed| removed > 0,
    )
=======
    /// Does the steps 2 to 6, or leaves nothing behind.
    fn publish(&mut self, payload: &Payload, sources: &Sources) -> Result<Generation, Failure> {
        // 2
        let (generation, made_at, folder) = self.make_folder()?;
        Step::FolderMade.done(generation.as_str());
        let stage = Stage { folder: &folder, owner: self.settings.owner, durable: self.on_disk };
        let manifest = Manifest::new(&self.settings.name, generation.as_str(), made_at, payload, sources);
        let swapped = self
            .check_room(payload, &manifest)
            .and_then(|()| stage.fill(payload, &manifest.to_bytes()?)) // 3 and 4
            .and_then(|()| self.swap(&generation)); // 5 and 6
        if swapped.is_err() {
            self.try_to("discard the new generation", remove::tree(&self.root, DATA_TMP));
            self.try_to("discard the new generation", remove::tree(&self.root, generation.as_str()));
        }
        swapped.map(|()| generation)
    }

    fn remove_unless_current(&self, retired: &[Retired]) -> Result<usize, Failure> {
        let current = Current::find(&self.root)?;
        let mut removed = 0;
        let mut first = None;
        for Retired { name, .. } in retired {
            if current.as_ref().is_some_and(|current| current.name == *name) {
                continue;
            }
            match remove::tree(&self.root, name.as_str()) {
                Ok(was_there) => removed += usize::from(was_there),
                Err(failure) => first = first.or(Some(failure)),
            }
        }
        first.map_or(Ok(removed), Err)
    }

    fn make_folder(&mut self) -> Result<(Generation, Timestamp, OwnedFd), Failure> {
        let mut tries = 0;
        loop {
            let now = self.clock.now();
            let after_last = self.named_at.map(|last| last + Duration::from_nanos(1));
            let made_at = after_last.map_or(now, |after_last| now.max(after_last));
            self.named_at = Some(made_at);
            let generation = Generation::made_at(made_at);
            tries += 1;
            match folder::make(&self.root, generation.as_str(), folder::NOBODY_ELSE) {
                Ok(folder) => return Ok((generation, made_at, folder)),
                Err(Errno::EXIST) if tries < MOST_TRIES => {}
                Err(errno) => return Err(Failure::of("make the folder", generation)(errno)),
            }
        }
    }

    /// Fails early, as a full volume does, when the generation cannot fit.
    fn check_room(&self, payload: &Payload, manifest: &Manifest) -> Result<(), Failure> {
        let failed = || Failure::of("write", &manifest.generation);
        let needed = Room::needed(&self.root, payload, manifest.to_bytes()?.len()).map_err(failed())?;
        let free = Room::free(&self.root).map_err(failed())?;
        if free.holds(needed) { Ok(()) } else { Err(failed()(Errno::NOSPC)) }
    }

    fn swap(&self, generation: &Generation) -> Result<(), Failure> {
        // 5
        remove::tree(&self.root, DATA_TMP)?;
        let is = folder::kind(&self.root, DATA).map_err(Failure::of("look at", DATA))?;
        if is.is_some_and(|is| is != FileType::Symlink) {
            // Somebody's folder in the place of the link cannot be renamed over; nothing was current then.
            remove::tree(&self.root, DATA)?;
        }
        symlinkat(generation.as_str(), &self.root, DATA_TMP).map_err(Failure::of("make", DATA_TMP))?;
        Step::TemporaryLinked.done(DATA_TMP);
        // 6
        renameat(&self.root, DATA_TMP, &self.root, DATA).map_err(Failure::of("replace", DATA))?;
        Step::Published.done(generation.as_str());
        Ok(())
    }

    /// Keeps the generation that was replaced for a while, and lets the oldest go when there are too many.
    fn retire(&mut self, replaced: Option<Current>) {
        if self.on_disk {
            self.try_to("sync the directory", fsync(&self.root).map_err(Failure::of("sync", DATA)));
        }
        let Some(Current { name, .. }) = replaced else {
            return;
        };
        let now = self.clock.instant();
        let until = now.checked_add(self.settings.overlap).unwrap_or(now + LONGEST);
        self.retired.retain(|retired| retired.name != name);
        self.retired.push(Retired { name, until });
        let surplus = self.retired.len().saturating_sub(Self::MOST_RETIRED);
        let gone: Vec<Retired> = self.retired.drain(..surplus).collect();
        for retired in gone {
            self.try_to("remove a retired generation", remove::tree(&self.root, retired.name.as_str()));
        }
    }

    /// Removes every generation but the current one, and tells whether that freed anything.
    fn make_room(&mut self, current: Option<&Current>) -> bool {
        self.retired.clear();
        let keep = |name: &str| current.is_some_and(|current| current.name.as_str() == name);
        self.try_to("remove retired generations", remove::generations(&self.root, keep))
            .is_some_and(|removed| removed > 0)
    }

    /// Says how much was needed and how much is free, where that is what failed.
    fn explain(&self, failure: Failure, payload: &Payload, sources: &Sources) -> Error {
        if !failure.is_full() {
            return failure.into();
        }
        let now = self.clock.now();
        let name = Generation::made_at(now);
        let manifest = Manifest::new(&self.settings.name, name.as_str(), now, payload, sources);
        let rooms = manifest.to_bytes().ok().and_then(|manifest| {
            let needed = Room::needed(&self.root, payload, manifest.len()).ok()?;
            Some((needed, Room::free(&self.root).ok()?))
        });
        let Some((needed, free)) = rooms else {
            return failure.into();
        };
        Error::new(
            ErrorKind::Deliver,
            OPERATION,
            format!("the volume is full: {needed} are needed and {free} are free"),
        )
        .with_temporary(true)
        .with_help("the files stay as they were; make the volume larger")
    }

    /// Brings the directory to what a completed write would have left.
    fn recover(&self) -> Result<(), Failure> {
        self.try_to("remove what a crash left", remove::tree(&self.root, DATA_TMP));
        let current = Current::find(&self.root)?;
        let visible = match &current {
            Some(current) => links::visible_in(&current.folder)?,
            None => BTreeSet::new(),
        };
        let visible = visible.iter().map(String::as_str).collect();
        self.try_to("mend the visible links", links::mend(&self.root, &visible));
        let keep = |name: &str| current.as_ref().is_some_and(|current| current.name.as_str() == name);
        self.try_to("remove what a crash left", remove::generations(&self.root, keep));
        Ok(())
    }

    /// Logs a failure that no reader sees and that a later write or start makes good.
    fn try_to<T>(&self, what: &str, result: Result<T, Failure>) -> Option<T> {
        result
            .map_err(|failure| {
                let error = located(failure.into(), &self.settings);
                tracing::warn!(%error, "could not {what}");
            })
            .ok()
    }
>>>>>>> fb65043 (Test retries and time-outs with paused time)
}

fn located(error: Error, settings: &Settings) -> Error {
    error.with("directory", settings.directory.display())
}

/// An overlap so long that it cannot be added to the clock is this long.
const LONGEST_OVERLAP: Duration = Duration::from_secs(365 * 24 * 60 * 60);
