//! The strategy `exec` with a program that administers a real database: a rotator that is killed in the middle of it, and a program that fails.

#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::scripts::{Form, PLACES, STEPS, Scripts};
use keywheel_tests::{kills, soak, wait};

const SECOND: Duration = Duration::from_secs(1);

/// Kills a rotator when its program has come to a place of a step, and waits until nothing of the program runs any more.
fn kill_at(scripts: &Scripts, configuration: &str, step: &str, place: &str) {
    let what = format!("the rotator to be at {step}, {place}");
    scripts.forget();
    scripts.stop_at(step, place);
    assert!(kills::kill_when(configuration, &what, || scripts.stopped().is_some()), "{what}");
    let program = scripts.stopped().map(|pid| format!("/proc/{pid}/stat"));
    wait::until(5 * SECOND, &format!("the end of the program at {step}, {place}"), || {
        let stat = std::fs::read_to_string(program.as_ref()?).unwrap_or_default();
        // Whoever takes in orphans may leave it as a zombie.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
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
    wait::until(10 * SECOND, "the end of the first program", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", orphan?)).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    let (user, password) = stage.published();
    assert_eq!(stage.database.login(&user, &password, 10 * SECOND), Ok(()));
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
