//! The application can write to the volume, and wants the program to write or delete somewhere else, or to stop.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keywheel_core::ErrorKind;
use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Settings, Sources};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, open as open_fd, openat};

use crate::listener;
use crate::support::*;

fn first() -> Files {
    marked("1", &[("a", 0o440), ("folder/x", 0o440)])
}

fn second() -> Files {
    marked("2", &[("a", 0o440), ("b", 0o440), ("folder/x", 0o440)])
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

fn current(directory: &Path) -> PathBuf {
    directory.join(fs::read_link(directory.join("..data")).unwrap())
}

type Plant = Box<dyn Fn(&Path)>;

/// Every way to put something into the place of `path`.
fn plants(outside: &Path) -> Vec<Plant> {
    let link = |target: PathBuf| -> Plant { Box::new(move |path| symlink(&target, path).unwrap()) };
    vec![
        link(outside.into()),
        link("../outside".into()),
        link(outside.join("a")),
        link("/etc".into()),
        link("/does/not/exist".into()),
        link(".".into()),
        link("..data".into()),
        link("..data_tmp".into()),
        link("..2026_01_01_00_00_00.1/../../outside".into()),
        Box::new(fifo),
        Box::new(|path| fs::write(path, "planted").unwrap()),
        Box::new(|path| fs::create_dir(path).unwrap()),
        Box::new({
            let outside = outside.to_path_buf();
            move |path| {
                fs::create_dir_all(path.join("folder/deep")).unwrap();
                fs::write(path.join("a"), "planted").unwrap();
                fs::write(path.join("folder/deep/y"), "planted").unwrap();
                symlink(&outside, path.join("out")).unwrap();
                symlink(&outside, path.join("folder/out")).unwrap();
                fifo(&path.join("folder/fifo"));
            }
        }),
    ]
}

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(stat) if stat.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

#[test]
fn whatever_is_planted_under_the_layouts_own_names_leads_nowhere() {
    for name in ["..data_tmp", "..data", "..2026_01_01_00_00_00.123456789"] {
        for with_first in [false, true] {
            for reopen in [false, true] {
                let count = plants(Path::new("/")).len();
                for number in 0..count {
                    let volume = Volume::new();
                    let (directory, outside) = (volume.directory(), volume.outside());
                    let before = snapshot(&outside);
                    let mut dir = open(&directory);
                    if with_first {
                        write(&mut dir, &first());
                    }
                    clear(&directory.join(name));
                    plants(&outside)[number](&directory.join(name));
                    if reopen {
                        dir = open(&directory);
                    }
                    assert!(write(&mut dir, &second()), "{name} {number}");
                    let dir = open(&directory);
                    assert_shows(&directory, &second(), 0);
                    assert!(dir.read_manifest().unwrap().is_some());
                    assert_eq!(snapshot(&outside), before, "{name} {number}");
                }
            }
        }
    }
}

#[test]
fn a_current_generation_behind_a_planted_link_is_none() {
    let volume = Volume::new();
    let (directory, outside) = (volume.directory(), volume.outside());
    let before = snapshot(&outside);
    let mut dir = open(&directory);
    write(&mut dir, &first());
    let generation = current(&directory);
    fs::rename(&generation, outside.join("moved")).unwrap();
    symlink(outside.join("moved"), &generation).unwrap();
    assert_eq!(dir.current_generation().unwrap(), None);
    assert!(write(&mut dir, &first()), "what the link leads to is not compared");
    drop(open(&directory));
    assert_shows(&directory, &first(), 0);
    fs::remove_dir_all(outside.join("moved")).unwrap();
    assert_eq!(snapshot(&outside), before);
}

#[test]
fn whatever_is_planted_inside_the_current_generation_is_replaced() {
    for name in ["a", "folder", "folder/x", "..manifest.json", "extra", "folder/extra"] {
        for number in 0..plants(Path::new("/")).len() {
            let volume = Volume::new();
            let (directory, outside) = (volume.directory(), volume.outside());
            let before = snapshot(&outside);
            let mut dir = open(&directory);
            write(&mut dir, &first());
            let planted = current(&directory).join(name);
            clear(&planted);
            plants(&outside)[number](&planted);
            // A folder without files in it, and anything but a file as the manifest, show nothing to a reader.
            let published = write(&mut dir, &first());
            let empty = name.ends_with("extra") && planted.is_dir() && number == 11;
            let manifest_is_a_file = name == "..manifest.json" && number == 10;
            assert_eq!(published, !empty && !manifest_is_a_file, "{name} {number}");
            if published {
                dir = open(&directory);
                assert_shows(&directory, &first(), 0);
            }
            drop(dir);
            assert_eq!(snapshot(&outside), before, "{name} {number}");
        }
    }
}

#[test]
fn a_link_elsewhere_under_a_visible_name_is_replaced_and_not_followed() {
    for number in 0..9 {
        let volume = Volume::new();
        let (directory, outside) = (volume.directory(), volume.outside());
        let before = snapshot(&outside);
        let mut dir = open(&directory);
        write(&mut dir, &first());
        for name in ["a", "b"] {
            clear(&directory.join(name));
            plants(&outside)[number](&directory.join(name));
        }
        assert!(write(&mut dir, &second()));
        assert_shows(&directory, &second(), 1);
        clear(&directory.join("folder"));
        plants(&outside)[number](&directory.join("folder"));
        assert!(!write(&mut dir, &second()), "links are mended without a new generation");
        assert_shows(&directory, &second(), 1);
        clear(&directory.join("folder"));
        let _dir = open(&directory);
        assert_shows(&directory, &second(), 0);
        assert_eq!(snapshot(&outside), before);
    }
}

#[test]
fn anything_else_under_a_visible_name_is_refused_by_its_name_and_nothing_is_written() {
    for (number, what) in [(9, "a special file"), (10, "a file"), (11, "a folder"), (12, "a folder")] {
        let volume = Volume::new();
        let (directory, outside) = (volume.directory(), volume.outside());
        let mut dir = open(&directory);
        write(&mut dir, &first());
        plants(&outside)[number](&directory.join("b"));
        let before = snapshot(&volume.directory());
        let plan = AtomicDir::plan(&settings(&directory), &payload(&second())).unwrap_err();
        let error = dir.write(&payload(&second()), &Sources::new()).unwrap_err();
        assert_eq!(plan.to_string(), error.to_string());
        assert_eq!(error.kind(), ErrorKind::Deliver);
        let expected = format!("{what} that Keywheel did not make is in the place of \"b\"");
        assert!(error.to_string().contains(&expected), "{error}");
        assert_eq!(snapshot(&directory), before);

        // In the place of a name that is visible already, it does not keep a start from succeeding.
        clear(&directory.join("a"));
        plants(&outside)[number](&directory.join("a"));
        let before = snapshot(&directory.join("folder"));
        let error = open(&directory).write(&payload(&first()), &Sources::new()).unwrap_err();
        assert!(error.to_string().contains("in the place of \"a\""), "{error}");
        assert_eq!(snapshot(&directory.join("folder")), before);
        assert!(directory.join("b").exists() || what == "a special file");
    }
}

#[test]
fn foreign_files_are_left_alone() {
    let volume = Volume::new();
    let (directory, outside) = (volume.directory(), volume.outside());
    fs::create_dir_all(directory.join("..2026notes/inner")).unwrap();
    fs::create_dir(directory.join("folder-of-mine")).unwrap();
    fs::write(directory.join("README"), "mine").unwrap();
    fs::write(directory.join("..2026_01_01"), "mine").unwrap();
    symlink(&outside, directory.join("elsewhere")).unwrap();
    symlink("nowhere", directory.join("dangling")).unwrap();
    symlink("..data", directory.join("alias-of-all")).unwrap();
    fifo(&directory.join("fifo"));
    let foreign = snapshot(&directory);
    let mut dir = open(&directory);
    write(&mut dir, &first());
    symlink("..data/a", directory.join("alias")).unwrap();
    symlink("..data/../../outside", directory.join("sneaky")).unwrap();
    write(&mut dir, &second());
    let mut dir = open(&directory);
    assert_eq!(fs::read_link(directory.join("alias")).unwrap(), Path::new("..data/a"), "it leads somewhere");
    assert!(fs::symlink_metadata(directory.join("sneaky")).is_err());
    write(&mut dir, &Files::new());
    assert!(fs::symlink_metadata(directory.join("alias")).is_err(), "it led nowhere any more");
    drop(open(&directory));
    let generation = current(&directory);
    let own = |line: &String| {
        let name = line.split([' ', '/']).next().unwrap();
        name == "..data" || directory.join(name) == generation
    };
    let after: Vec<String> = snapshot(&directory).into_iter().filter(|line| !own(line)).collect();
    assert_eq!(after, foreign);
}

#[test]
fn deep_and_wide_orphans_are_removed_without_recursion() {
    let volume = Volume::new();
    let (directory, outside) = (volume.directory(), volume.outside());
    let before = snapshot(&outside);
    let mut dir = open(&directory);
    write(&mut dir, &first());
    let orphan = directory.join("..2026_01_01_00_00_00.1");
    fs::create_dir(&orphan).unwrap();
    // Deeper than a path can be long and than files may be open.
    let mut folder: OwnedFd = open_fd(&orphan, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for level in 0..3000 {
        if level % 100 == 0 {
            rustix::fs::symlinkat(&outside, &folder, "out").unwrap();
            mkdirat(&folder, "..moved_7", Mode::RWXU).unwrap();
        }
        mkdirat(&folder, "d", Mode::RWXU).unwrap();
        folder = openat(&folder, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(folder);
    for number in 0..5000 {
        fs::write(orphan.join(format!("file-{number}")), "x").unwrap();
        fs::create_dir(orphan.join(format!("folder-{number}"))).unwrap();
    }
    let dir = open(&directory);
    assert_shows(&directory, &first(), 0);
    assert_eq!(snapshot(&outside), before);
    drop(dir);
}

#[test]
fn a_deep_and_wide_current_generation_is_compared_within_bounds() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut dir = open(&directory);
    write(&mut dir, &first());
    let generation = current(&directory);
    let deep: PathBuf = std::iter::repeat_n("d", 200).collect();
    fs::create_dir_all(generation.join("folder").join(&deep)).unwrap();
    for number in 0..20_000 {
        fs::write(generation.join(format!("file-{number}")), "x").unwrap();
    }
    assert!(write(&mut dir, &first()));
    drop(open(&directory));
    assert_shows(&directory, &first(), 0);
}

#[test]
fn a_generation_folder_that_is_swapped_while_it_is_written_leads_nowhere() {
    for step in [2, 3, 4, 5] {
        let volume = Volume::new();
        let (directory, outside) = (volume.directory(), volume.outside());
        let before = snapshot(&outside);
        let mut dir = open(&directory);
        write(&mut dir, &first());
        let keep = fs::read_link(directory.join("..data")).unwrap();
        let attack = {
            let (directory, outside) = (directory.clone(), outside.clone());
            move || {
                let generations = entries(&directory).into_iter().filter(|(name, kind)| {
                    name.starts_with("..2")
                        && *kind == 'd'
                        && Path::new(name) != keep
                        && !name.ends_with("-moved")
                });
                for (name, _) in generations {
                    fs::rename(directory.join(&name), directory.join(name.clone() + "-moved")).unwrap();
                    symlink(&outside, directory.join(name)).unwrap();
                }
            }
        };
        let written = listener::at_step(step, attack, || dir.write(&payload(&second()), &Sources::new()));
        // The files went into the folder that was opened, and what `..data` names now is no generation.
        assert!(written.is_ok(), "{written:?}");
        assert_eq!(dir.current_generation().unwrap(), None);
        assert!(write(&mut dir, &second()));
        same(&generation(&directory).unwrap(), &second());
        assert_eq!(snapshot(&outside), before, "step {step}");
    }
}

#[test]
fn nothing_inside_a_generation_that_is_written_can_be_put_there_first() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 6] = [
        ("folder", |path, outside| symlink(outside, path).unwrap()),
        ("folder", |path, outside| fs::hard_link(outside.join("a"), path).unwrap()),
        ("a", |path, outside| symlink(outside.join("a"), path).unwrap()),
        ("a", |path, outside| symlink(outside.join("new"), path).unwrap()),
        ("a", |path, outside| fs::hard_link(outside.join("a"), path).unwrap()),
        ("a", |path, _| fifo(path)),
    ];
    for (name, plant) in plants {
        let volume = Volume::new();
        let (directory, outside) = (volume.directory(), volume.outside());
        let before = snapshot(&outside);
        let mut dir = open(&directory);
        let attack = {
            let (directory, outside) = (directory.clone(), outside.clone());
            move || {
                for (generation, _) in entries(&directory) {
                    plant(&directory.join(generation).join(name), &outside);
                }
            }
        };
        let written = listener::at_step(2, attack, || dir.write(&payload(&first()), &Sources::new()));
        let error = written.unwrap_err().to_string();
        assert!(error.contains("cannot make") && error.contains(name), "{error}");
        assert_eq!(entries(&directory), [], "nothing is left of it");
        assert_eq!(snapshot(&outside), before);
        assert!(write(&mut dir, &first()));
    }
}

#[test]
fn a_link_to_the_very_same_bytes_is_not_the_file() {
    let volume = Volume::new();
    let (directory, outside) = (volume.directory(), volume.outside());
    let mut dir = open(&directory);
    write(&mut dir, &first());
    let file = current(&directory).join("a");
    fs::rename(&file, outside.join("same")).unwrap();
    symlink(outside.join("same"), &file).unwrap();
    assert!(write(&mut dir, &first()));
    assert_shows(&directory, &first(), 1);
}

#[test]
fn what_data_was_made_to_name_is_never_pruned() {
    for target in ["../outside", "../outside/.", "ABSOLUTE", "folder-of-mine", "..data_tmp", "."] {
        let volume = Volume::new();
        let (directory, outside) = (volume.directory(), volume.outside());
        let settings = Settings { overlap: Duration::ZERO, ..settings(&directory) };
        let mut dir = AtomicDir::open(settings, Clock::system()).unwrap();
        fs::create_dir(directory.join("folder-of-mine")).unwrap();
        fs::write(directory.join("folder-of-mine/a"), "mine").unwrap();
        let before = (snapshot(&outside), snapshot(&directory.join("folder-of-mine")));
        let target = target.replace("ABSOLUTE", outside.to_str().unwrap());
        symlink(target, directory.join("..data")).unwrap();
        assert!(write(&mut dir, &first()));
        dir.prune().unwrap();
        same(&generation(&directory).unwrap(), &first());
        let after = (snapshot(&outside), snapshot(&directory.join("folder-of-mine")));
        assert_eq!(after, before);
    }
}

#[test]
fn what_was_made_unreadable_is_replaced() {
    use std::os::unix::fs::PermissionsExt;

    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    // Capabilities belong to a thread: this one loses root's way around permissions for good.
    let test = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, sets).unwrap();
        for name in ["", "a", "folder", "folder/x"] {
            let volume = Volume::new();
            let directory = volume.directory();
            let mut dir = open(&directory);
            write(&mut dir, &first());
            let path = current(&directory).join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
            assert!(write(&mut dir, &first()), "{name:?}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            drop(open(&directory));
            assert_shows(&directory, &first(), 0);
        }
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap());
}
