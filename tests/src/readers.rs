//! Reads a delivery over and over, as applications do, and notes every inconsistency.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::generation;

/// Threads that read until they are finished. Every file's content is a [`generation::value`].
#[derive(Debug)]
pub struct Readers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What the readers saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// How often the whole delivery was read.
    pub passes: u64,
    /// The generations that were seen.
    pub generations: BTreeSet<u64>,
    /// The passes whose generation was removed while they read it, after `..data` had gone on. The layout allows
    /// that: a reader that wants all files of one generation begins again.
    pub overtaken: u64,
    /// Mixed, partial, missing and wrongly moded files, in words; empty when all is well.
    pub faults: Vec<String>,
}

impl Readers {
    /// Starts `count` readers of `directory`; `files` names each file with its mode.
    ///
    /// Every other one resolves `..data` once per pass and holds all files against each other; the rest open each file
    /// by its visible name.
    pub fn start(directory: &Path, files: &[(&str, u32)], count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let files: Vec<_> = files.iter().map(|(name, mode)| ((*name).to_owned(), *mode)).collect();
        let threads = (0..count)
            .map(|index| {
                let delivery = Delivery { directory: directory.to_owned(), files: files.clone() };
                let over = Arc::clone(&over);
                let pass =
                    if index % 2 == 0 { Delivery::pass_through_data } else { Delivery::pass_through_names };
                thread::spawn(move || delivery.read_until(&over, pass))
            })
            .collect();
        Self { over, threads }
    }

    /// Ends the readers, each after one pass at least, and returns what they saw together.
    pub fn finish(mut self) -> Tally {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for thread in self.threads.drain(..) {
            let tally = thread.join().expect("a reader's tally");
            all.passes += tally.passes;
            all.overtaken += tally.overtaken;
            all.generations.extend(tally.generations);
            all.faults.extend(tally.faults);
        }
        all
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

struct Delivery {
    directory: PathBuf,
    files: Vec<(String, u32)>,
}

type Pass = fn(&Delivery, &mut Tally) -> Result<(), String>;

impl Delivery {
    fn read_until(&self, over: &AtomicBool, pass: Pass) -> Tally {
        let mut tally = Tally::default();
        loop {
            if let Err(fault) = pass(self, &mut tally)
                && tally.faults.len() < ENOUGH_FAULTS
            {
                tally.faults.push(fault);
            }
            tally.passes += 1;
            if over.load(Ordering::Relaxed) {
                return tally;
            }
            // Leaves room for the program under test on a machine with fewer cores than readers.
            thread::sleep(BREATH);
        }
    }

    fn pass_through_data(&self, tally: &mut Tally) -> Result<(), String> {
        let resolve =
            || fs::read_link(self.directory.join("..data")).map_err(|error| format!("..data: {error}"));
        let name = resolve()?;
        let folder = self.directory.join(&name);
        let mut seen = BTreeSet::new();
        for (file, mode) in &self.files {
            match read(&folder.join(file), *mode) {
                Ok(generation) => seen.insert(generation),
                Err(Unreadable::Missing) if resolve()? != name => {
                    tally.overtaken += 1;
                    return Ok(());
                }
                Err(unreadable) => return Err(unreadable.in_words(&name.join(file))),
            };
        }
        tally.generations.extend(&seen);
        if seen.len() > 1 {
            return Err(format!("{} mixes the generations {seen:?}", name.display()));
        }
        Ok(())
    }

    fn pass_through_names(&self, tally: &mut Tally) -> Result<(), String> {
        for (file, mode) in &self.files {
            let path = self.directory.join(file);
            let generation = read(&path, *mode).map_err(|unreadable| unreadable.in_words(Path::new(file)))?;
            tally.generations.insert(generation);
        }
        Ok(())
    }
}

enum Unreadable {
    Missing,
    Wrong(String),
}

impl Unreadable {
    fn in_words(&self, file: &Path) -> String {
        match self {
            Self::Missing => format!("{} is missing", file.display()),
            Self::Wrong(fault) => format!("{}: {fault}", file.display()),
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Wrong(error.to_string()) }
    }
}

/// Reads one file through one descriptor, so that content and mode belong together.
fn read(path: &Path, mode: u32) -> Result<u64, Unreadable> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.permissions().mode() & 0o7777;
    if found != mode {
        return Err(Unreadable::Wrong(format!("mode {found:04o} instead of {mode:04o}")));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    generation::read(&content).map_err(Unreadable::Wrong)
}

const BREATH: Duration = Duration::from_micros(100);
const ENOUGH_FAULTS: usize = 10;
