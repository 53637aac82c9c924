//! Readers that loop over the directory while it changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Settings};
use keywheel_core::payload::Owner;

use crate::support::*;

const WRITES: u64 = 250;
const READERS: usize = 4;
const PATHS: [&str; 5] = ["a", "app.env", "db/password", "db/user", "deep/er/x"];

/// The number of the generation decides every byte and every mode.
fn files(number: u64) -> Files {
    let mode = if number.is_multiple_of(2) { 0o440 } else { 0o444 };
    let mut files = marked(&number.to_string(), &PATHS.map(|path| (path, mode)));
    if number.is_multiple_of(3) {
        files.extend(marked(&number.to_string(), &[("sometimes", 0o440)]));
    }
    files
}

#[test]
fn readers_never_see_a_mixed_partial_missing_or_wrongly_moded_file() {
    let volume = Volume::new();
    let directory = volume.directory();
    let owner = is_root().then_some(Owner { uid: Some(1234), gid: Some(4321) });
    let settings = Settings { owner, ..settings(&directory) };
    let mut dir = AtomicDir::open(settings, Clock::system()).unwrap();
    write(&mut dir, &files(0));

    let passes: [AtomicU64; READERS] = Default::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for passes in &passes {
            scope.spawn(|| {
                // A reader that panics has to end the writer's wait, too.
                let end = SetOnDrop(&done);
                while !done.load(Ordering::SeqCst) {
                    resolve_once(&directory, owner);
                    by_name(&directory, owner);
                    passes.fetch_add(1, Ordering::SeqCst);
                }
                std::mem::forget(end);
            });
        }
        let _end = SetOnDrop(&done);
        for number in 1..=WRITES {
            assert!(write(&mut dir, &files(number)));
            // Every reader ends the pass that it is in: three retired generations are then more than any of them needs.
            let before: Vec<u64> = passes.iter().map(|passes| passes.load(Ordering::SeqCst)).collect();
            while !done.load(Ordering::SeqCst)
                && passes.iter().zip(&before).any(|(now, before)| now.load(Ordering::SeqCst) == *before)
            {
                std::thread::yield_now();
            }
        }
    });
    let passes: u64 = passes.iter().map(|passes| passes.load(Ordering::SeqCst)).sum();
    println!("{passes} passes of {READERS} readers across {WRITES} writes");
    assert!(passes >= WRITES * READERS as u64);
    assert_shows(&directory, &files(WRITES), AtomicDir::MOST_RETIRED);
}

/// Resolves `..data` once: all files are of one generation.
fn resolve_once(directory: &Path, owner: Option<Owner>) {
    let folder = directory.join(fs::read_link(directory.join("..data")).unwrap());
    let numbers = PATHS.map(|path| whole(&folder.join(path), path, owner));
    assert!(numbers.iter().all(|number| *number == numbers[0]), "mixed: {numbers:?}");
}

/// Opens every visible name by itself: each is whole, and none is older than the one before it.
fn by_name(directory: &Path, owner: Option<Owner>) {
    let numbers = PATHS.map(|path| whole(&directory.join(path), path, owner));
    assert!(numbers.is_sorted(), "went back: {numbers:?}");
}

/// Reads one file and returns its number, after checking every byte, the mode and the owner.
fn whole(path: &Path, name: &str, owner: Option<Owner>) -> u64 {
    let mut file = fs::File::open(path).unwrap();
    let stat = file.metadata().unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    let line = std::str::from_utf8(&bytes).unwrap().lines().next().expect("an empty file");
    let number = line.strip_prefix(name).unwrap().trim().parse().unwrap();
    let (wanted, mode) = &files(number)[name];
    assert!(bytes == *wanted, "{name} of {number} is partial");
    assert_eq!(stat.permissions().mode() & 0o7777, *mode, "{name} of {number}");
    if let Some(owner) = owner {
        assert_eq!((Some(stat.uid()), Some(stat.gid())), (owner.uid, owner.gid));
    }
    number
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
