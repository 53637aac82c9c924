//! What is written is what is seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Change, ChangeKind, Settings, SourceInfo, Sources, Written};
use keywheel_core::payload::{Owner, Payload};
use keywheel_core::secret::Version;
use proptest::prelude::*;

use crate::support::*;

#[test]
fn a_write_is_seen_as_a_whole_and_the_same_again_touches_nothing() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut dir = open(&directory);
    let files = marked("1", &[("a", 0o440), ("db/password", 0o400), ("db/deep/er/x", 0o644)]);
    assert!(write(&mut dir, &files));
    assert_shows(&directory, &files, 0);

    let before = snapshot(&directory);
    assert!(!write(&mut dir, &files));
    assert!(!write(&mut open(&directory), &files));
    assert_eq!(snapshot(&directory), before);
}

#[test]
fn a_change_of_bytes_mode_or_paths_is_one_new_generation() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut dir = open(&directory);
    let first = marked("1", &[("a", 0o440), ("b", 0o440), ("c/x", 0o440), ("c/y", 0o440)]);
    let mut second = marked("1", &[("a", 0o440), ("b", 0o400), ("c/x", 0o440), ("d", 0o440)]);
    second.get_mut("a").unwrap().0[3000] ^= 1;
    write(&mut dir, &first);
    let planned = AtomicDir::plan(&settings(&directory), &payload(&second)).unwrap();
    let change = |path: &str, kind| Change { path: path.into(), kind };
    let expected = [
        change("a", ChangeKind::Content),
        change("b", ChangeKind::Mode),
        change("c/y", ChangeKind::Removed),
        change("d", ChangeKind::Added),
    ];
    assert_eq!(planned, expected);
    match dir.write(&payload(&second), &Sources::new()).unwrap() {
        Written::Published { generation, changes } => {
            assert_eq!(changes, expected);
            assert_eq!(dir.current_generation().unwrap(), Some(generation));
        }
        other => panic!("{other:?}"),
    }
    assert_shows(&directory, &second, 1);
    let text: Vec<String> = planned.iter().map(Change::to_string).collect();
    assert_eq!(text, ["changed: a", "mode changed: b", "removed: c/y", "added: d"]);
}

#[test]
fn a_plan_needs_no_directory_and_makes_none() {
    let volume = Volume::new();
    let settings = settings(&volume.directory().join("not/there"));
    let files = marked("1", &[("a", 0o440), ("b/c", 0o440)]);
    let planned = AtomicDir::plan(&settings, &payload(&files)).unwrap();
    let added: Vec<&str> = planned.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(added, ["a", "b/c"]);
    assert!(planned.iter().all(|change| change.kind == ChangeKind::Added));
    assert!(!volume.directory().exists());

    write(&mut open(&settings.directory), &files);
    let before = snapshot(&volume.directory());
    assert_eq!(AtomicDir::plan(&settings, &payload(&files)).unwrap(), []);
    let other = marked("2", &[("a", 0o440)]);
    assert_eq!(AtomicDir::plan(&settings, &payload(&other)).unwrap().len(), 2);
    assert_eq!(snapshot(&volume.directory()), before);
}

#[test]
fn an_empty_payload_is_a_generation_too() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut dir = open(&directory);
    assert_eq!(dir.current_generation().unwrap(), None);
    assert_eq!(dir.read_manifest().unwrap(), None);
    assert!(write(&mut dir, &Files::new()));
    assert!(!write(&mut dir, &Files::new()));
    assert_shows(&directory, &Files::new(), 0);
    let files = marked("1", &[("a", 0o440)]);
    write(&mut dir, &files);
    write(&mut dir, &Files::new());
    assert_shows(&directory, &Files::new(), 2);
}

#[test]
fn a_manifest_says_versions_and_deadlines_and_no_value() {
    let volume = Volume::new();
    let mut dir = open(&volume.directory());
    let deadline: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
    let source = SourceInfo {
        reference: "vault://secret/orders/db".into(),
        version: Version::new(3),
        lease_deadline: Some(deadline),
    };
    let sources = Sources::from([("db".to_string(), source)]);
    let files = Files::from([("db/password".to_string(), (b"canary-4711".to_vec(), 0o400))]);
    let written = dir.write(&payload(&files), &sources).unwrap();
    assert!(!format!("{written:?} {dir:?}").contains("canary"));

    let manifest = dir.read_manifest().unwrap().unwrap();
    assert_eq!((manifest.version, manifest.delivery.as_str()), (1, "orders"));
    assert_eq!(Some(&manifest.generation), dir.current_generation().unwrap().as_ref());
    let file = &manifest.files["db/password"];
    assert_eq!(file.mode, "0400");
    let secret = &file.secrets[0];
    assert_eq!((secret.name.as_str(), secret.version.as_str()), ("db", "3"));
    assert_eq!(secret.reference, "vault://secret/orders/db");
    assert_eq!(secret.lease_deadline, Some(deadline));

    let path = volume.directory().join("..data/..manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("}\n") && !text.contains("canary"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o440);

    fs::remove_file(&path).unwrap();
    assert_eq!(dir.read_manifest().unwrap(), None);
    fs::write(&path, "{\"version\": \"canary\"}").unwrap();
    let error = dir.read_manifest().unwrap_err().to_string();
    assert!(error.contains("not the JSON") && !error.contains("canary"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(
        dir.write(&payload(&files), &sources).unwrap() != Written::Unchanged,
        "a generation has a manifest"
    );
}

#[test]
fn owners_are_set_and_a_wrong_one_is_mended() {
    if !is_root() {
        return eprintln!("SKIPPED: owners_are_set_and_a_wrong_one_is_mended needs root");
    }
    let volume = Volume::new();
    let owner = Owner { uid: Some(1234), gid: Some(4321) };
    let settings = Settings { owner: Some(owner), ..settings(&volume.directory()) };
    let mut dir = AtomicDir::open(settings, Clock::system()).unwrap();
    let files = marked("1", &[("a", 0o440), ("b/c", 0o400)]);
    write(&mut dir, &files);
    let ids = |name: &str| {
        let stat = fs::metadata(volume.directory().join(name)).unwrap();
        (stat.uid(), stat.gid())
    };
    for name in ["a", "b/c", "..data/..manifest.json"] {
        assert_eq!(ids(name), (1234, 4321), "{name}");
    }
    assert!(!write(&mut dir, &files));
    for (uid, gid) in [(Some(1), None), (None, Some(1))] {
        chown(volume.directory().join("a"), uid, gid).unwrap();
        assert!(write(&mut dir, &files));
        assert_eq!(ids("a"), (1234, 4321));
    }
    assert_eq!(ids("b"), (0, 0), "folders stay the program's own");
}

#[test]
fn a_directory_that_hands_its_group_down_goes_on_doing_so() {
    if !is_root() {
        return eprintln!("SKIPPED: a_directory_that_hands_its_group_down_goes_on_doing_so needs root");
    }
    let volume = Volume::new();
    let directory = volume.directory();
    fs::create_dir(&directory).unwrap();
    chown(&directory, None, Some(5000)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o2775)).unwrap();
    let mut dir = open(&directory);
    let files = marked("1", &[("a", 0o440), ("b/c/d", 0o440)]);
    write(&mut dir, &files);
    for name in ["..data", "a", "b", "b/c", "b/c/d", "..data/..manifest.json"] {
        assert_eq!(fs::metadata(directory.join(name)).unwrap().gid(), 5000, "{name}");
    }
    assert!(!write(&mut dir, &files));
}

#[test]
fn an_owner_that_may_not_be_set_is_reported_and_nothing_changes() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    // Capabilities belong to a thread: this one loses CAP_CHOWN for good.
    let test = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::CHOWN);
        set_capabilities(None, sets).unwrap();
        let volume = Volume::new();
        let mut settings = settings(&volume.directory());
        let mut dir = AtomicDir::open(settings.clone(), Clock::system()).unwrap();
        let files = marked("1", &[("a", 0o440)]);
        write(&mut dir, &files);
        settings.owner = Some(Owner { uid: Some(1234), gid: None });
        let mut dir = AtomicDir::open(settings, Clock::system()).unwrap();
        let before = snapshot(&volume.directory());
        let error = dir.write(&payload(&files), &Sources::new()).unwrap_err();
        assert_eq!(
            error.to_string().replace(volume.directory().to_str().unwrap(), "DIR"),
            "deliver: delivery failed: cannot change the owner of \"a\": Operation not permitted (os error 1) \
             (directory: DIR); run as that user, give the program CAP_CHOWN, or leave `owner` out"
        );
        assert!(!error.is_temporary());
        assert_eq!(snapshot(&volume.directory()), before);
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap());
}

#[tokio::test(start_paused = true)]
async fn retired_generations_stay_for_their_overlap_and_three_at_most() {
    let volume = Volume::new();
    let directory = volume.directory();
    let clock = Clock::paused("2026-11-22T07:00:00Z".parse().unwrap());
    let settings = Settings { overlap: Duration::from_secs(60), ..settings(&directory) };
    let mut dir = AtomicDir::open(settings, clock.clone()).unwrap();
    let files = |n: u32| marked(&n.to_string(), &[("a", 0o440)]);
    write(&mut dir, &files(0));
    assert_eq!(dir.next_prune_at(), None);
    let first = directory.join(fs::read_link(directory.join("..data")).unwrap());
    let start = clock.instant();
    write(&mut dir, &files(1));
    assert_eq!(dir.next_prune_at(), Some(start + Duration::from_secs(60)));
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(dir.prune().unwrap(), 0);
    assert!(first.join("a").exists(), "a reader that resolved it before can go on");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(dir.prune().unwrap(), 1);
    assert_shows(&directory, &files(1), 0);
    assert_eq!(dir.next_prune_at(), None);

    for n in 2..10 {
        write(&mut dir, &files(n));
        assert_shows(&directory, &files(n), (n as usize - 1).min(AtomicDir::MOST_RETIRED));
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(dir.prune().unwrap(), 3);
    assert_shows(&directory, &files(9), 0);
}

#[test]
fn many_files_are_no_trouble() {
    let volume = Volume::new();
    let mut dir = open(&volume.directory());
    let file = |n: u32| {
        let path = format!("secret-{n}/field");
        (path, (n.to_string().into_bytes(), 0o440))
    };
    let files: Files = (0..10_000).map(file).collect();
    assert!(write(&mut dir, &files));
    assert!(!write(&mut dir, &files));
    assert_shows(&volume.directory(), &files, 0);
}

#[test]
fn a_path_that_is_both_a_file_and_a_folder_is_an_error() {
    let volume = Volume::new();
    let mut dir = open(&volume.directory());
    let good = marked("1", &[("a", 0o440)]);
    write(&mut dir, &good);
    let bad = marked("2", &[("a", 0o440), ("a/b", 0o440)]);
    let error = dir.write(&payload(&bad), &Sources::new()).unwrap_err();
    assert!(error.to_string().contains("cannot make the folder \"a\""), "{error}");
    assert_shows(&volume.directory(), &good, 0);
}

fn any_files() -> impl Strategy<Value = Files> {
    let paths = ["a", "b", "c", "d/x", "d/y", "d/e/f", "g/h/i/j", "k.l", ".hidden"];
    let modes = [0o400, 0o440, 0o444, 0o600];
    let file =
        (prop::sample::select(paths.to_vec()), (0u8..4, 0usize..3, prop::sample::select(modes.to_vec())));
    prop::collection::btree_map(file.0, file.1, 0..8).prop_map(|files| {
        let sizes = [0, 10, 9000];
        let file = |(path, (byte, size, mode)): (&str, (u8, usize, u32))| {
            (path.to_string(), (vec![byte; sizes[size]], mode))
        };
        files.into_iter().map(file).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_visible_tree_is_always_the_last_payload(
        writes in prop::collection::vec((any_files(), any::<bool>()), 1..12),
    ) {
        let volume = Volume::new();
        let directory = volume.directory();
        let settings = settings(&directory);
        let mut dir = open(&directory);
        let mut last: Option<Files> = None;
        let mut retired = 0;
        for (files, reopen) in writes {
            if reopen {
                dir = open(&directory);
                retired = 0;
            }
            let delivered: Payload = payload(&files);
            let planned = AtomicDir::plan(&settings, &delivered).unwrap();
            let changes = match dir.write(&delivered, &Sources::new()).unwrap() {
                Written::Published { changes, .. } => {
                    retired = (retired + usize::from(last.is_some())).min(AtomicDir::MOST_RETIRED);
                    changes
                }
                _ => {
                    prop_assert_eq!(last.as_ref(), Some(&files));
                    vec![]
                }
            };
            prop_assert_eq!(&changes, &planned);
            prop_assert_eq!(expected(last.as_ref().unwrap_or(&Files::new()), &files), changes);
            assert_shows(&directory, &files, retired);
            prop_assert_eq!(AtomicDir::plan(&settings, &delivered).unwrap(), vec![]);
            last = Some(files);
        }
    }
}

fn expected(from: &Files, to: &Files) -> Vec<Change> {
    let paths: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let change = |path: &String| {
        let kind = match (from.get(path), to.get(path)) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (Some((old, _)), Some((new, _))) if old != new => ChangeKind::Content,
            (Some((_, old)), Some((_, new))) if old != new => ChangeKind::Mode,
            _ => return None,
        };
        Some(Change { path: path.clone(), kind })
    };
    paths.into_iter().filter_map(change).collect()
}

#[test]
fn missing_folders_are_made_for_everybody_to_enter() {
    let volume = Volume::new();
    let directory = volume.directory().join("deep/er");
    open(&directory);
    for path in [directory.as_path(), directory.parent().unwrap(), Path::new(&volume.directory())] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o755, "{}", path.display());
    }
}
