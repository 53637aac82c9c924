//! `keywheel run` as a supervisor: the cases that supervisors fail.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keywheel_tests::{Keywheel, Launch, Process, Signal, built, process, wait};
use rustix::process::{Pid, kill_process, kill_process_group};

#[test]
fn it_ends_as_the_command_ended() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        assert_eq!(Launch::new("run").args(["--", "sh", "-c", script]).output().code, Some(code), "{script}");
    }
}

#[test]
fn a_command_that_cannot_be_run_has_a_code_of_its_own_and_is_named() {
    let launch = Launch::new("run");
    let plain = launch.folder().join("plain");
    fs::write(&plain, "no program").unwrap();
    let finished = launch.arg("--").arg(&plain).output();
    assert_eq!(finished.code, Some(126), "{}", finished.stderr);
    assert!(finished.stderr.contains("plain: it may not be executed"), "{}", finished.stderr);
    let finished = Launch::new("run").args(["--", "no-such-program"]).output();
    assert_eq!(finished.code, Some(127), "{}", finished.stderr);
    assert!(finished.stderr.contains("no-such-program: there is no such program"), "{}", finished.stderr);
}

#[test]
fn standard_input_is_the_commands() {
    let mut run = Command::new(built::program("keywheel"))
        .args(["run", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"hello"[..]));
}

#[test]
fn a_stop_lets_the_command_end_by_itself() {
    for signal in [Signal::TERM, Signal::INT] {
        let run = Run::start(&[], "trap 'say ended; exit 5' TERM INT; say started; forever");
        run.says("started");
        run.keywheel.process().signal(signal);
        assert_eq!(run.ends(), Some(5));
        assert_eq!(run.said(), ["started", "ended"]);
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_its_grace() {
    let run = Run::start(&["--grace", "300ms"], "trap '' TERM; say started; forever");
    run.says("started");
    let begun = Instant::now();
    run.keywheel.process().signal(Signal::TERM);
    assert_eq!(run.ends(), Some(137));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(!is_alive(run.command()));
}

#[test]
fn a_second_stop_kills_at_once() {
    let run = Run::start(&["--grace", "1h"], "trap 'say asked' TERM INT; say started; forever");
    run.says("started");
    run.keywheel.process().signal(Signal::TERM);
    run.says("asked");
    wait::throughout(Duration::from_millis(200), "the command to run", || is_alive(run.command()));
    run.keywheel.process().signal(Signal::INT);
    assert_eq!(run.ends(), Some(137));
}

#[test]
fn one_stop_that_comes_twice_is_one() {
    let run = Run::start(
        &["--grace", "1h"],
        "trap 'say asked; sleep 0.3; say ended; exit 6' TERM; say started; forever",
    );
    run.says("started");
    // As timeout(1) does: to the program, and to its group.
    run.keywheel.process().signal(Signal::TERM);
    run.keywheel.process().signal(Signal::TERM);
    assert_eq!(run.ends(), Some(6));
}

#[test]
fn every_other_signal_is_the_commands() {
    let traps: String = NAMES.map(|name| format!("trap 'say {name}' {name}; ")).concat();
    let run = Run::start(&[], &format!("{traps} say started; forever"));
    run.says("started");
    let signals =
        [Signal::HUP, Signal::USR1, Signal::USR2, Signal::QUIT, Signal::WINCH, Signal::ALARM, Signal::CONT];
    for (signal, name) in signals.into_iter().zip(NAMES) {
        run.keywheel.process().signal(signal);
        run.says(name);
    }
    assert_eq!(run.keywheel.process().ended(), None);
}

const NAMES: [&str; 7] = ["HUP", "USR1", "USR2", "QUIT", "WINCH", "ALRM", "CONT"];

#[test]
fn a_signal_that_is_ignored_stays_so() {
    let keywheel = built::program("keywheel");
    let script = format!(
        "trap '' HUP; exec {} run -- sh -c 'kill -HUP $PPID; kill -HUP $$; echo lives'",
        keywheel.display()
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "lives\n");
}

#[test]
fn a_command_that_forks_and_leaves_ends_the_program() {
    let run = Run::start(&[], "sleep 1000 & echo $! > left; exit 3");
    assert_eq!(run.ends(), Some(3));
    let left = run.pid_in("left");
    assert!(is_alive(left), "what a command leaves running is the user's");
    kill_process(left, Signal::KILL).unwrap();
}

#[test]
fn a_stop_waits_for_what_the_command_started() {
    let worker =
        "trap 'exit 4' TERM; (trap 'sleep 0.3; say drained; exit' TERM; say working; forever) & wait";
    let run = Run::start(&[], worker);
    run.says("working");
    run.keywheel.process().signal(Signal::TERM);
    assert_eq!(run.ends(), Some(4));
    assert_eq!(run.said(), ["working", "drained"]);
}

#[test]
fn what_the_command_started_is_killed_with_it() {
    let worker =
        "trap 'exit 4' TERM; (trap '' TERM; sh -c 'echo $PPID > worker'; say working; forever) & wait";
    let run = Run::start(&["--grace", "300ms"], worker);
    run.says("working");
    run.keywheel.process().signal(Signal::TERM);
    assert_eq!(run.ends(), Some(4));
    assert!(!is_alive(run.pid_in("worker")));
}

#[test]
fn a_stopped_command_can_still_be_ended() {
    let run = Run::start(&[], "trap 'exit 5' TERM; say started; forever");
    run.says("started");
    kill_process_group(run.command(), Signal::TSTP).unwrap();
    wait::until(BOUND, "the command to stop", || (state(run.command()) == 'T').then_some(()));
    run.keywheel.process().signal(Signal::TERM);
    assert_eq!(run.ends(), Some(5));
}

#[test]
fn a_command_is_stopped_and_goes_on_with_the_program() {
    let run = Run::start(&[], "say started; forever");
    run.says("started");
    run.keywheel.process().signal(Signal::TSTP);
    wait::until(BOUND, "the command to stop", || (state(run.command()) == 'T').then_some(()));
    run.keywheel.process().signal(Signal::CONT);
    wait::until(BOUND, "the command to go on", || (state(run.command()) != 'T').then_some(()));
    assert_eq!(run.keywheel.terminate(BOUND), Some(143));
}

#[test]
fn a_command_that_crashes_again_and_again_is_left_alone_longer() {
    let run = Run::start(&["--restart", "on-failure"], "say started; exit 9");
    let begun = Instant::now();
    wait::until(BOUND, "two starts", || (run.said().len() >= 2).then_some(()));
    assert!(begun.elapsed() >= Duration::from_millis(500), "the first pause is half a second at least");
    let logged = || run.keywheel.logged("the command has ended, and is started again");
    wait::until(BOUND, "the second pause", || (logged().len() >= 2).then_some(()));
    // Also while there is no command.
    assert_eq!(run.keywheel.terminate(BOUND), Some(143));
}

#[test]
fn a_command_that_succeeds_is_not_run_again_on_failure() {
    let run = Run::start(&["--restart", "on-failure"], "say started; exit 0");
    assert_eq!(run.ends(), Some(0));
    assert_eq!(run.said().len(), 1);
}

#[test]
fn orphans_are_reaped() {
    // Some of the command's own group, and some with sessions of their own.
    let orphans =
        "for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &); (setsid sleep 0.1 &); done; say started; forever";
    let run = Run::start(&[], orphans);
    run.says("started");
    let pid = run.keywheel.process().pid();
    wait::until(BOUND, "all orphans to be reaped", || {
        let children = children_of(pid);
        (children.len() == 1 && is_alive(children[0])).then_some(())
    });
}

#[test]
fn the_first_process_of_a_container_forwards_and_reaps() {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let allowed = Command::new(unshare[0]).args(&unshare[1..]).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "skipped: a PID namespace cannot be made here").unwrap();
        return;
    }
    let launch = Launch::new("run");
    let folder = launch.folder().to_owned();
    let script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.05 &); (setsid sleep 0.05 &); done
        echo $PPID > init
        until ! grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null && ! pgrep -x sleep > /dev/null; do :; done
        echo clean > clean; trap 'exit 5' TERM; echo started > started; while :; do sleep 0.05; done";
    let mut outer = Command::new(unshare[0]);
    outer
        .args(&unshare[1..])
        // The kernel ends the namespace with its first process, and that with the test.
        .arg("--kill-child")
        .arg(built::program("keywheel"))
        .args(["run", "--", "sh", "-c", script])
        .current_dir(&folder)
        .env("PATH", std::env::var_os("PATH").unwrap());
    let outer = Process::start("unshare", outer, &folder);
    wait::until(BOUND, "the command to start", || folder.join("started").exists().then_some(()));
    assert_eq!(fs::read_to_string(folder.join("init")).unwrap().trim(), "1");
    let [init] = children_of(outer.pid())[..] else { panic!("one process in the namespace") };
    kill_process(init, Signal::TERM).unwrap();
    assert_eq!(outer.wait_for_end(BOUND).code(), Some(5), "{}", outer.stderr());
}

#[test]
fn a_megabyte_of_environment_arrives() {
    let mut launch = Launch::new("run").args(["--", "sh", "-c", "env | wc -c"]);
    for number in 0..16 {
        launch = launch.env(&format!("LARGE_{number}"), "x".repeat(64 << 10));
    }
    let finished = launch.output();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.trim().parse::<usize>().unwrap() > 1 << 20, "{}", finished.stdout);
}

/// A shell script under `keywheel run`, in a folder of its own.
struct Run {
    keywheel: Keywheel,
    folder: PathBuf,
}

impl Run {
    /// The script can `say` something, and go on `forever`: until its supervisor is gone.
    fn start(options: &[&str], script: &str) -> Self {
        // It waits without a process of its own: one that is stopped between vfork(2) and exec would keep the shell from being stopped.
        let words = "exec 3<> <(:); say() { echo \"$1\" >> said; }; forever() { while kill -0 $PPID 2>/dev/null; do read -r -t 0.02 -u 3; done; }";
        let script = format!("{words}; echo $$ > command; {script}");
        let launch = Launch::new("run").args(options).args(["--", "bash", "-c", &script]);
        let folder = launch.folder().to_owned();
        Self { keywheel: launch.start(), folder }
    }

    fn says(&self, word: &str) {
        wait::until(BOUND, &format!("the command to say {word}"), || {
            self.said().iter().any(|said| said == word).then_some(())
        });
    }

    fn said(&self) -> Vec<String> {
        let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }

    fn ends(&self) -> Option<i32> {
        self.keywheel.process().wait_for_end(BOUND).code()
    }

    /// Returns the command's process.
    fn command(&self) -> Pid {
        self.pid_in("command")
    }

    fn pid_in(&self, file: &str) -> Pid {
        wait::until(BOUND, file, || {
            let text = fs::read_to_string(self.folder.join(file)).ok()?;
            Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
        })
    }
}

fn is_alive(pid: Pid) -> bool {
    !process::is_gone(pid.as_raw_nonzero().get().unsigned_abs())
}

/// Returns the state of a process as proc_pid_stat(5) has it; `X` when there is none.
fn state(pid: Pid) -> char {
    stat(pid.as_raw_nonzero().get()).map_or('X', |(state, _)| state)
}

fn stat(pid: i32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn children_of(parent: u32) -> Vec<Pid> {
    let entries =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let children = entries.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent));
    children.filter_map(Pid::from_raw).collect()
}

const BOUND: Duration = Duration::from_secs(20);
