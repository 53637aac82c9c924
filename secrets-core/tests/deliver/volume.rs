//! Where a delivery may be.

use std::path::Path;

use keywheel_core::ErrorKind;
use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Settings, Sources};

use crate::listener;
use crate::support::*;

/// A folder on a disk, or `None` where even the build is on a memory-backed volume.
fn disk() -> Option<tempfile::TempDir> {
    listener::install();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let memory = AtomicDir::check_volume(&settings(folder.path())).is_ok();
    if memory {
        eprintln!("SKIPPED: {} is no disk", folder.path().display());
    }
    (!memory).then_some(folder)
}

#[test]
fn a_disk_is_refused_and_nothing_is_made() {
    let Some(disk) = disk() else { return };
    for directory in [disk.path().join("new/deep"), disk.path().to_path_buf()] {
        let settings = settings(&directory);
        let opened = AtomicDir::open(settings.clone(), Clock::system()).unwrap_err();
        let checked = AtomicDir::check_volume(&settings).unwrap_err();
        for error in [opened, checked] {
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains("the directory is on ") && text.contains("allow_disk: true"), "{text}");
            assert!(text.contains(directory.to_str().unwrap()), "{text}");
        }
    }
    assert_eq!(entries(disk.path()), []);
}

#[test]
fn a_disk_that_is_allowed_is_written_to() {
    let Some(disk) = disk() else { return };
    let directory = disk.path().join("delivery");
    let settings = Settings { allow_disk: true, ..settings(&directory) };
    AtomicDir::check_volume(&settings).unwrap();
    assert!(!directory.exists());
    let mut dir = AtomicDir::open(settings, Clock::system()).unwrap();
    for marker in ["1", "2"] {
        let files = marked(marker, &[("a", 0o440), ("b/c/d", 0o400), ("b/e", 0o444)]);
        assert!(write(&mut dir, &files));
        assert!(!write(&mut dir, &files));
        assert_shows(&directory, &files, usize::from(marker == "2"));
    }
}

#[test]
fn what_is_no_folder_is_an_error_with_its_name() {
    let volume = Volume::new();
    let file = volume.outside().join("a");
    for directory in [file.clone(), file.join("below")] {
        let error = AtomicDir::open(settings(&directory), Clock::system()).unwrap_err();
        assert!(error.to_string().contains("Not a directory"), "{error}");
        let error = AtomicDir::plan(&settings(&directory), &payload(&Files::new())).unwrap_err();
        assert!(error.to_string().contains("Not a directory"), "{error}");
    }
    let error = AtomicDir::open(settings(Path::new("/proc/self/fdinfo/x")), Clock::system()).unwrap_err();
    assert!(error.to_string().contains("which is not kept in memory"), "{error}");
}

#[test]
fn a_directory_that_is_gone_is_an_error_and_not_a_panic() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut dir = open(&directory);
    write(&mut dir, &marked("1", &[("a", 0o440)]));
    std::fs::remove_dir_all(&directory).unwrap();
    let files = payload(&marked("2", &[("a", 0o440)]));
    let error = dir.write(&files, &Sources::new()).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(!directory.exists());
}
