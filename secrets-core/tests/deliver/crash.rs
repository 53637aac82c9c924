//! SIGKILL after every numbered step, and at any moment: old or new, never mixed, and the next start cleans up.
//!
//! The child is this test program itself, told by its environment what to do. It kills itself from a listener to the trace
//! events that every step emits: production code knows nothing of it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Settings};
use rustix::process::{Signal, getpid, kill_process};

use crate::listener;
use crate::support::*;

fn old() -> Files {
    marked(
        "old",
        &[("a", 0o440), ("db/password", 0o400), ("db/user", 0o440), ("gone", 0o440), ("only/old", 0o440)],
    )
}

fn new() -> Files {
    marked(
        "new",
        &[("a", 0o400), ("b", 0o444), ("db/deep/er/x", 0o440), ("db/password", 0o400), ("z", 0o440)],
    )
}

#[test]
fn a_kill_after_any_step_leaves_old_or_new_and_a_start_cleans_up() {
    let files = u32::try_from(new().len()).unwrap();
    let moments =
        (1..=8).flat_map(|step| (1..=if step == 3 { files } else { 1 }).map(move |nth| (step, nth)));
    for (step, nth) in moments {
        for with_old in [false, true] {
            crash_and_recover(step, nth, with_old);
        }
    }
}

fn crash_and_recover(step: u64, nth: u32, with_old: bool) {
    let volume = Volume::new();
    let directory = volume.directory();
    if with_old {
        write(&mut open(&directory), &old());
    }
    let status = child(&directory)
        .env("KEYWHEEL_TEST_STEP", step.to_string())
        .env("KEYWHEEL_TEST_NTH", nth.to_string())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "step {step}, event {nth}: {status}");

    let seen = (step >= 6).then(new).or_else(|| with_old.then(old));
    let check = || {
        assert!(generation(&directory) == seen, "step {step}, event {nth}: {:?}", entries(&directory));
        let shown = visible(&directory);
        for (path, file) in &shown {
            assert!(seen.as_ref().unwrap().get(path) == Some(file), "step {step}, event {nth}: {path}");
        }
        shown
    };
    check();
    let mut dir = open(&directory);
    same(&check(), &seen.clone().unwrap_or_default());
    match &seen {
        Some(files) => assert_shows(&directory, files, 0),
        None => assert_eq!(entries(&directory), [], "step {step}, event {nth}"),
    }
    assert_eq!(write(&mut dir, &new()), step < 6, "step {step}, event {nth}");
    assert_shows(&directory, &new(), usize::from(with_old && step < 6));
}

#[test]
fn kills_at_any_moment_never_mix_generations() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut last = 0;
    for round in 0..60 {
        let mut running = child(&directory)
            .env("KEYWHEEL_TEST_FROM", (last + 1).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The kill falls into the write after the one that is told of, wherever the two processes happen to be.
        let mut written = 0;
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        for line in lines.by_ref() {
            if let Some(number) = line.unwrap().strip_prefix("written ") {
                written = number.parse().unwrap();
                if written > last + round % 7 {
                    break;
                }
            }
        }
        spin(round * 3000);
        running.kill().unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
        for line in lines {
            // What it told after the line that was waited for.
            if let Some(number) = line.unwrap().strip_prefix("written ") {
                written = number.parse().unwrap_or(written);
            }
        }
        let check = || {
            let seen = generation(&directory).unwrap();
            let number = number_of(&seen);
            assert!(number >= written, "{number} comes after {written}");
            same(&seen, &numbered(number));
            number
        };
        last = check();
        for (path, file) in visible(&directory) {
            assert!(numbered(last).get(&path) == Some(&file), "{path} of {last}");
        }
        open(&directory);
        assert_eq!(check(), last);
        assert_shows(&directory, &numbered(last), 0);
    }
}

/// Passes a little time that differs from round to round.
fn spin(turns: u32) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// The files of the write with that number: some are always there, some come and go.
fn numbered(number: u32) -> Files {
    let all =
        [("always", 0o440), ("db/always", 0o400), ("odd", 0o440), ("db/odd", 0o440), ("x/odd/odd", 0o444)];
    let kept: Vec<(&str, u32)> =
        all.into_iter().filter(|(path, _)| number % 2 == 1 || !path.ends_with("odd")).collect();
    marked(&number.to_string(), &kept)
}

fn number_of(files: &Files) -> u32 {
    let (bytes, _) = &files["always"];
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
    std::str::from_utf8(line).unwrap().strip_prefix("always ").unwrap().parse().unwrap()
}

#[test]
fn a_narrow_umask_changes_no_mode() {
    let volume = Volume::new();
    let directory = volume.directory();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    assert!(as_child(&mut command, &directory).status().unwrap().success());
    assert_shows(&directory, &new(), 0);
    for folder in ["", "..data/db", "..data/db/deep/er"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{folder:?}");
    }
}

fn child(directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_child(&mut command, directory);
    command
}

fn as_child<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command
        .args(["--exact", "crash::child_process", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env("KEYWHEEL_TEST_DIRECTORY", directory)
        .stdout(Stdio::null())
}

/// What the tests above run in a process of its own.
#[test]
#[ignore = "does nothing unless the tests here start it"]
fn child_process() {
    let Some(directory) = std::env::var_os("KEYWHEEL_TEST_DIRECTORY") else {
        return;
    };
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u32>().unwrap());
    let settings = Settings { overlap: Duration::ZERO, ..settings(Path::new(&directory)) };
    let mut dir = AtomicDir::open(settings, Clock::system()).unwrap();
    if let Some(step) = number("KEYWHEEL_TEST_STEP") {
        let mut events = number("KEYWHEEL_TEST_NTH").unwrap();
        let kill = move || {
            events -= 1;
            if events == 0 {
                kill_process(getpid(), Signal::KILL).unwrap();
            }
        };
        listener::at_step(step.into(), kill, || write(&mut dir, &new()));
        panic!("step {step} did not come");
    }
    let Some(from) = number("KEYWHEEL_TEST_FROM") else {
        write(&mut dir, &new());
        return;
    };
    for number in from.. {
        write(&mut dir, &numbered(number));
        println!("written {number}");
        dir.prune().unwrap();
    }
}
