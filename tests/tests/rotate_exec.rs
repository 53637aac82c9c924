//! The strategy `exec` with a program that administers a real database: a rotator that is killed in the middle of it, and a program that fails.

#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::scripts::{Form, PLACES, STEPS, Scripts};
use keywheel_tests::{Keywheel, Launch, Signal, kills, process, soak, wait};
use rustix::process::{Pid, kill_process};

const SECOND: Duration = Duration::from_secs(1);
const GUARD: &[u8] = b"keywheel\0guard\0";

/// Waits until a process is gone.
fn ends(pid: Option<u32>, what: &str) {
    let pid = pid.expect("a process");
    wait::until(10 * SECOND, &format!("the end of {what}"), || process::is_gone(pid).then_some(()));
}

/// Kills a rotator when its program has come to a place of a step, and waits until nothing of the program runs any more.
fn kill_at(scripts: &Scripts, configuration: &str, step: &str, place: &str) {
    let what = format!("the rotator to be at {step}, {place}");
    scripts.forget();
    scripts.stop_at(step, place);
    assert!(kills::kill_when(configuration, &what, || scripts.stopped().is_some()), "{what}");
    ends(scripts.stopped(), &format!("the program at {step}, {place}"));
    scripts.forget();
}

#[test]
fn a_rotator_that_is_killed_in_any_step_is_followed_by_one_that_ends_the_rotation() {
    let scripts = Scripts::set();
    let stage = &scripts.stage;
    let probe = stage.probe();
    let (forms, stride) = ([Form::One, Form::Each], soak::count(5, 1));
    let places = STEPS.iter().flat_map(|step| PLACES.map(|place| (*step, place)));
    let all = places.flat_map(|at| forms.map(|form| (at, form)));
    let mut kills = 0;
    for ((step, place), form) in all.step_by(stride) {
        let configuration = scripts.configuration(&stage.bao.plain_address(), form);
        if step == "undo" {
            scripts.fail_at("test", 1);
        }
        kill_at(&scripts, &configuration, step, place);
        scripts.mend();
        stage.finish(&configuration, &format!("killed at {step}, {place}, {form:?}"));
        kills += 1;
    }
    let seen = probe.finish();
    eprintln!("{kills} kills: {} logins, {} failed", seen.logins, seen.failed.len());
    assert_eq!(seen.failed, Vec::<String>::new());
}

#[test]
fn a_program_does_not_outlive_its_rotator_and_set_what_is_not_wanted_any_more() {
    let scripts = Scripts::set();
    scripts.replace_in_place();
    let stage = &scripts.stage;
    let configuration = scripts.configuration(&stage.bao.plain_address(), Form::One);
    scripts.stop_at("set", "told");
    assert!(kills::kill_when(&configuration, "the program to wait", || scripts.stopped().is_some()));
    let orphan = scripts.stopped();
    // Not told to stop anywhere, while the first one may still wait.
    scripts.stop_at("nothing", "begin");
    stage.finish(&configuration, "after the kill");
    let again = stage.rotate(&configuration, &["--now"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    scripts.go_on();
    ends(orphan, "the first program");
    let (user, password) = stage.published();
    assert_eq!(stage.database.login(&user, &password, 10 * SECOND), Ok(()));
}

/// Returns the rotator's guard.
fn guard_of(rotator: &Keywheel) -> u32 {
    let is_guard = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|argv| argv == GUARD);
    let children = process::children(rotator.process().pid());
    let guards: Vec<u32> = children.iter().copied().filter(is_guard).collect();
    let [guard] = guards[..] else { panic!("one guard: {guards:?} of {children:?}") };
    guard
}

/// Starts a rotator, with more in its environment, whose program waits in `set`.
fn waiting(scripts: &Scripts) -> Keywheel {
    let configuration = scripts.configuration(&scripts.stage.bao.plain_address(), Form::One);
    scripts.stop_at("set", "told");
    let rotator = Launch::new("rotate").env("OTHER", "canary").config(&configuration).arg("--now").start();
    wait::until(30 * SECOND, "the program to wait", || {
        rotator.process().assert_running();
        scripts.stopped()
    });
    rotator
}

#[test]
fn a_guard_is_told_nothing_by_its_environment_and_ends_with_its_rotator() {
    let scripts = Scripts::set();
    let rotator = waiting(&scripts);
    let guard = guard_of(&rotator);
    let environment = std::fs::read(format!("/proc/{guard}/environ")).expect("its environment");
    assert_eq!(environment, b"", "its environment");
    scripts.go_on();
    assert!(rotator.process().wait_for_end(30 * SECOND).success(), "{}", rotator.logs());
    // Reaped by the rotator, before that ended.
    assert!(process::is_gone(guard));
    scripts.forget();
    let rotator = waiting(&scripts);
    let guard = guard_of(&rotator);
    rotator.process().kill();
    ends(scripts.stopped(), "the program");
    ends(Some(guard), "the guard");
}

#[test]
fn a_guard_is_there_once_a_program_runs_and_again_after_it_was_killed() {
    let scripts = Scripts::set();
    let stage = &scripts.stage;
    let configuration = scripts.configuration(&stage.bao.plain_address(), Form::One);
    let idle = Launch::new("rotate").arg("serve").config(&configuration).start();
    wait::until(30 * SECOND, "the rotator's start", || (!idle.logged("started").is_empty()).then_some(()));
    assert_eq!(process::children(idle.process().pid()), [0; 0]);
    drop(idle);
    let rotator = waiting(&scripts);
    let guard = Pid::from_raw(guard_of(&rotator).try_into().expect("a process id")).expect("a process id");
    kill_process(guard, Signal::KILL).expect("the guard's end");
    scripts.go_on();
    assert!(rotator.process().wait_for_end(30 * SECOND).success(), "{}", rotator.logs());
    assert!(!rotator.logs().contains("no guard"), "{}", rotator.logs());
}

#[test]
fn what_a_program_that_ended_left_running_outlives_a_rotator_that_is_killed() {
    let scripts = Scripts::set();
    scripts.leave_at("create");
    let rotator = waiting(&scripts);
    let left = scripts.left().expect("what `create` left");
    rotator.process().kill();
    ends(scripts.stopped(), "the program");
    assert!(!process::is_gone(left));
}

#[test]
fn a_program_that_fails_at_any_step_is_told_and_not_called_again_at_once() {
    let scripts = Scripts::set();
    let stage = &scripts.stage;
    let configuration = scripts.configuration(&stage.bao.plain_address(), Form::Each);
    for step in ["create", "check", "set", "test", "retire"] {
        for (code, exits) in [(75, 69), (1, 1)] {
            let what = format!("{step} ends with {code}");
            let (before, called) = (stage.published(), scripts.count_of(step));
            scripts.fail_at(step, code);
            let failed = stage.rotate(&configuration, &["--now"]);
            assert_eq!(failed.code, Some(exits), "{what}: {}", failed.stderr);
            let published = stage.published();
            assert_eq!(published != before, step == "retire", "{what}");
            assert_eq!(stage.database.login(&published.0, &published.1, 10 * SECOND), Ok(()), "{what}");
            let status = stage.status(&configuration);
            let error = status["error"].as_str().unwrap_or_default();
            assert!(error.contains(&format!("exit code {code}")), "{what}: {status}");
            assert!(status["failures"].as_u64() > Some(0), "{what}: {status}");
            let later = stage.rotate(&configuration, &["--no-wait"]);
            assert_eq!((later.code, scripts.count_of(step)), (Some(0), called + 1), "{what}: called again");
            scripts.mend();
            let done = stage.rotate(&configuration, &["--now"]);
            assert_eq!(done.code, Some(0), "{what}: {}", done.stderr);
            stage.finish(&configuration, &what);
        }
    }
}
