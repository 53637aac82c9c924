//! The agent is killed at random moments, and whenever a new generation is half made: readers see the old one or the
//! new one, and the next start cleans up.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keywheel_tests::{Launch, Readers, Snapshot, Stage, Witness, generation, wait};
use serde_json::json;

#[test]
fn forty_kills_leave_whole_generations_and_starts_clean_up() {
    let stage = Stage::set();
    put(&stage, 1);
    let config = stage.configuration(&delivery(""));
    let agent = Launch::agent(&config).start();
    agent.wait_ready(START);
    drop(agent);

    let names: Vec<_> = (0..FILES).map(name).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 0o440)).collect();
    let readers = Readers::start(&stage.directory(), &files, 4);
    let (over, last) = (AtomicBool::new(false), AtomicU64::new(1));
    let mut left = Left::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                put(&stage, last.fetch_add(1, Ordering::Relaxed) + 1);
                until_passed(Duration::from_millis(20));
            }
        });
        // The writer ends with the test, also when that fails.
        let _over = Raise(&over);
        for kill in 0..KILLS {
            let before = orphans(&stage.directory());
            let agent = Launch::agent(&config).start();
            match kill % 4 {
                0 => until_passed(random(Duration::from_millis(400))),
                1 => {
                    agent.wait_ready(START);
                    until_passed(random(Duration::from_millis(400)));
                }
                _ => {
                    agent.wait_ready(START);
                    spin_until_half_made(&stage.directory());
                }
            }
            let ready = kill % 4 != 0;
            agent.process().kill();
            let after = orphans(&stage.directory());
            if ready {
                assert!(before.is_disjoint(&after), "kill {kill}: {before:?} outlived a start: {after:?}");
            }
            left.note(&stage.directory());
        }
    });
    let tally = readers.finish();
    assert_eq!(tally.faults, [""; 0]);
    assert!(tally.generations.len() > 20, "{tally:?}");
    assert!(left.half_made > 0, "no kill met a half-made generation: {left:?}");
    eprintln!(
        "{KILLS} kills, {left:?}; {} values written; {} passes, {} generations seen, {} overtaken",
        last.load(Ordering::Relaxed),
        tally.passes,
        tally.generations.len(),
        tally.overtaken
    );

    let agent = Launch::agent(&config).start();
    let newest = last.load(Ordering::Relaxed);
    wait::until(START, "the newest value", || (read(&stage) == newest).then_some(()));
    agent.process().kill();
    let _agent = {
        let agent = Launch::agent(&config).start();
        agent.wait_ready(START);
        agent
    };
    let mut expected: BTreeSet<_> = names.into_iter().map(PathBuf::from).collect();
    expected.insert("..data".into());
    expected.insert(fs::read_link(stage.directory().join("..data")).unwrap());
    let found: BTreeSet<_> = listed(&stage.directory()).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_restart_without_a_change_rewrites_nothing_and_tells_nobody() {
    let (stage, witness) = (Stage::set(), Witness::start());
    put(&stage, 1);
    let on_change =
        format!("    on_change:\n      - signal: {{process: {}, signal: SIGHUP}}\n", witness.name());
    let config = stage.configuration(&delivery(&on_change));
    let mut agent = Launch::agent(&config).start();
    agent.wait_ready(START);
    let told = witness.wait_for_more_than(0, START).len();
    let before = Snapshot::of(&stage.directory());
    let generation = agent.status()["deliveries"][0]["generation"].clone();
    for kill in [true, false, true] {
        if kill {
            agent.process().kill();
        } else {
            assert_eq!(agent.terminate(Duration::from_secs(5)), Some(0));
        }
        agent = Launch::agent(&config).start();
        agent.wait_ready(START);
        assert_eq!(Snapshot::of(&stage.directory()), before);
        assert_eq!(agent.status()["deliveries"][0]["generation"], generation);
        assert_eq!(agent.logged("delivered").len(), 0);
    }
    assert_eq!(witness.signals().len(), told);
    put(&stage, 2);
    witness.wait_for_more_than(told, Duration::from_secs(2));
    assert_eq!(read(&stage), 2);
}

/// What the kills left for the next start.
#[derive(Debug, Default)]
struct Left {
    /// Generations beside the current one: retired or unfinished.
    others: usize,
    /// Of these, the ones that nobody could enter yet.
    half_made: usize,
    /// Links that were about to become `..data`.
    links: usize,
}

impl Left {
    fn note(&mut self, directory: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        for orphan in orphans(directory) {
            let metadata = directory.join(&orphan).symlink_metadata().unwrap();
            self.links += usize::from(metadata.is_symlink());
            self.others += usize::from(metadata.is_dir());
            self.half_made += usize::from(metadata.is_dir() && metadata.permissions().mode() & 0o077 == 0);
        }
    }
}

struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns what is in the directory for Keywheel's own use, beside `..data` and the generation that it names.
fn orphans(directory: &Path) -> BTreeSet<PathBuf> {
    let current = fs::read_link(directory.join("..data")).unwrap();
    let hidden = |path: &PathBuf| path.as_os_str().as_encoded_bytes().starts_with(b"..");
    listed(directory).filter(|path| hidden(path) && *path != current && path != Path::new("..data")).collect()
}

fn listed(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into())
}

/// Returns as soon as a folder is there that nobody else may enter, without leaving the processor in between.
fn spin_until_half_made(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let begun = Instant::now();
    let half_made = |path: PathBuf| {
        let metadata = directory.join(path).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_dir() && metadata.permissions().mode() & 0o077 == 0)
    };
    while !listed(directory).any(half_made) {
        assert!(begun.elapsed() < START, "no generation was made");
    }
}

fn until_passed(span: Duration) {
    wait::throughout(span, "time passes", || true);
}

fn random(bound: Duration) -> Duration {
    bound.mul_f64(f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX))
}

fn name(index: usize) -> String {
    format!("file-{index:02}")
}

fn delivery(on_change: &str) -> String {
    let mut text = String::from(
        "    secrets:\n      db: {ref: \"vault://secret/orders/db\", refresh: 100ms}\n    overlap: 200ms\n    files:\n",
    );
    for index in 0..FILES {
        let name = name(index);
        writeln!(text, "      - {{path: {name}, value: \"{{{{ db.password }}}}\", mode: \"0440\"}}").unwrap();
    }
    text + on_change
}

fn put(stage: &Stage, generation: u64) {
    stage.bao.kv_put("secret", "orders/db", &json!({"password": generation::value(generation, 50_000)}));
}

fn read(stage: &Stage) -> u64 {
    generation::read(&fs::read(stage.directory().join(name(0))).unwrap()).unwrap()
}

const KILLS: usize = 40;
const FILES: usize = 16;
const START: Duration = Duration::from_secs(15);
