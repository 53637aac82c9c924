//! A full volume: the old generation stays, and space that comes is used.

use std::fs;
use std::path::{Path, PathBuf};

use keywheel_core::ErrorKind;
use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Sources};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::listener;
use crate::support::*;

/// A tmpfs of its own with a size, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str) -> Option<Self> {
        if !is_root() {
            eprintln!("SKIPPED: a small volume can only be mounted by root");
            return None;
        }
        listener::install();
        let folder = tempfile::tempdir().unwrap();
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let options = std::ffi::CString::new(options).unwrap();
        mount("tmpfs", folder.path(), "tmpfs", flags, Some(options.as_c_str())).unwrap();
        Some(Self(folder))
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("delivery")
    }

    /// Leaves `free` KiB for others.
    fn fill_but(&self, free: u64) {
        fill_but(self.0.path(), &self.ballast(), free);
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

fn fill_but(volume: &Path, ballast: &Path, free: u64) {
    let all = rustix::fs::statvfs(volume).unwrap();
    let taken = all.f_bavail * all.f_frsize - free * 1024;
    fs::write(ballast, vec![1; usize::try_from(taken).unwrap()]).unwrap();
}

/// Files of 8 KiB altogether on the volume, and 4 KiB for the manifest.
fn files(marker: &str) -> Files {
    marked(marker, &[("a", 0o440)])
}

fn larger(marker: &str) -> Files {
    marked(marker, &[("a", 0o440), ("b", 0o440), ("db/c", 0o440), ("db/d", 0o440)])
}

#[test]
fn a_full_volume_keeps_the_old_generation_and_space_that_comes_is_used() {
    let Some(volume) = Small::mount("size=256k") else {
        return;
    };
    let directory = volume.directory();
    let mut dir = open(&directory);
    write(&mut dir, &files("old"));
    volume.fill_but(16);
    let before = snapshot(&directory);

    for mut dir in [dir, open(&directory)] {
        let error = dir.write(&payload(&larger("new")), &Sources::new()).unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Deliver, true), "{error}");
        let text = error.to_string();
        assert!(text.contains("the volume is full: 36864 bytes"), "{text}");
        assert!(text.contains("are needed and 16384 bytes"), "{text}");
        assert!(text.contains(directory.to_str().unwrap()), "{text}");
        assert_eq!(snapshot(&directory), before);
    }
    let mut dir = open(&directory);
    fs::remove_file(volume.ballast()).unwrap();
    assert!(write(&mut dir, &larger("new")));
    assert_shows(&directory, &larger("new"), 1);
}

#[test]
fn retired_generations_make_room_before_anything_fails() {
    let Some(volume) = Small::mount("size=256k") else {
        return;
    };
    let directory = volume.directory();
    let mut dir = open(&directory);
    for marker in ["1", "2", "3"] {
        write(&mut dir, &files(marker));
    }
    assert_shows(&directory, &files("3"), 2);
    volume.fill_but(16);
    assert!(write(&mut dir, &larger("4")));
    assert_shows(&directory, &larger("4"), 1);
    assert!(dir.next_prune_at().is_some(), "the one that was just replaced is kept");
}

#[test]
fn a_volume_that_fills_up_in_the_middle_is_the_same() {
    let Some(volume) = Small::mount("size=256k") else {
        return;
    };
    let directory = volume.directory();
    let mut dir = open(&directory);
    write(&mut dir, &files("old"));
    let before = snapshot(&directory);
    for step in [2, 3, 4] {
        let (root, ballast) = (volume.0.path().to_path_buf(), volume.ballast());
        let neighbour = move || fill_but(&root, &ballast, 0);
        let written =
            listener::at_step(step, neighbour, || dir.write(&payload(&larger("new")), &Sources::new()));
        // After step 4 only links are made, which need no block.
        if step == 4 {
            written.unwrap();
            assert_shows(&directory, &larger("new"), 1);
        } else {
            let error = written.unwrap_err();
            assert!(error.is_temporary() && error.to_string().contains("the volume is full"), "{error}");
            assert_eq!(snapshot(&directory), before);
        }
        fs::remove_file(volume.ballast()).unwrap();
    }
}

#[test]
fn a_volume_without_room_for_more_files_is_full_too() {
    let Some(volume) = Small::mount("size=1m,nr_inodes=16") else {
        return;
    };
    let directory = volume.directory();
    let mut dir = open(&directory);
    write(&mut dir, &files("old"));
    let before = snapshot(&directory);
    let names: Vec<String> = (0..10).map(|n| format!("file-{n}")).collect();
    let many: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 0o440)).collect();
    let error = dir.write(&payload(&marked("new", &many)), &Sources::new()).unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("the volume is full"), "{error}");
    assert_eq!(snapshot(&directory), before);
    assert!(write(&mut dir, &files("new")));
}

#[test]
fn a_volume_without_a_limit_is_never_full() {
    let Some(volume) = Small::mount("size=0") else {
        return;
    };
    let mut dir = AtomicDir::open(settings(&volume.directory()), Clock::system()).unwrap();
    assert!(write(&mut dir, &larger("1")));
    assert_shows(&volume.directory(), &larger("1"), 0);
}
