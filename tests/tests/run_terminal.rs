//! `keywheel run` on a terminal, under a real shell with job control.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keywheel_tests::{built, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

#[test]
fn the_command_reads_the_terminal_and_the_shell_does_after_it() {
    let shell = Shell::interactive();
    shell.types("keywheel run -- sh -c 'echo re''ady; read x; echo got:$x'\n");
    shell.shows("ready");
    shell.types("hello\n");
    shell.shows("got:hello");
    shell.is_back();
}

#[test]
fn an_interrupt_is_the_commands_alone() {
    let shell = Shell::interactive();
    let command =
        "trap \"echo interr\"\"upted; exit 3\" INT; echo re\"\"ady; while kill -0 $PPID; do sleep 0.02; done";
    shell.types(&format!("keywheel run -- sh -c '{command}'; echo code=$?\n"));
    shell.shows("ready");
    shell.types("\x03");
    shell.shows("interrupted");
    shell.shows("code=3");
    shell.is_back();
}

#[test]
fn a_job_is_suspended_and_taken_up_again() {
    let shell = Shell::interactive();
    // It waits without a process of its own: one that is stopped between vfork(2) and exec would keep the shell from being stopped.
    let wait = "exec 3<> <(:); while kill -0 $PPID; do read -t 0.02 -u 3; done";
    let command = format!("trap \"echo go\"\"es on\" CONT; echo re\"\"ady; {wait}");
    shell.types(&format!("keywheel run -- bash -c '{command}'\n"));
    shell.shows("ready");
    for _ in 0..2 {
        shell.types("\x1a");
        shell.shows("Stopped");
        shell.is_back();
        shell.types("fg\n");
        shell.shows("goes on");
    }
    shell.types("\x03");
    shell.is_back();
}

#[test]
fn a_background_job_waits_for_the_terminal() {
    let shell = Shell::interactive();
    shell.types("keywheel run -- sh -c 'read x; echo got:$x' &\n");
    shell.types("while ! jobs | grep -q Stopped; do sleep 0.05; done; echo it wa''its\n");
    shell.shows("it waits");
    shell.types("fg\n");
    shell.types("late\n");
    shell.shows("got:late");
    shell.is_back();
}

#[test]
fn the_terminal_is_set_as_it_was_when_a_command_was_killed() {
    let shell = Shell::of(&[
        "sh",
        "-c",
        "keywheel run -- sh -c 'stty -echo; kill -9 $$'; stty -a | grep -q -- ' -echo '; echo is=$?; read x",
    ]);
    shell.shows("is=1");
}

#[test]
fn a_script_without_job_control_gets_its_terminal_back() {
    let shell =
        Shell::of(&["bash", "-c", "keywheel run -- sh -c 'read x; echo got:$x'; read y; echo then:$y"]);
    shell.types("one\n");
    shell.shows("got:one");
    shell.types("two\n");
    shell.shows("then:two");
}

/// A shell that leads the session of a terminal; what is typed is shown, too.
struct Shell {
    terminal: Mutex<File>,
    shown: Arc<Mutex<String>>,
    seen: Mutex<usize>,
    child: Mutex<Child>,
}

impl Shell {
    fn interactive() -> Self {
        Self::of(&["bash", "--norc", "--noprofile", "-i"])
    }

    fn of(program: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let theirs = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let keywheel = built::program("keywheel");
        let path = format!("{}:{}", keywheel.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(program).env("PATH", path).env("PS1", "$ ").env("TERM", "dumb");
        let child = command.stdin(theirs()).stdout(theirs()).stderr(theirs()).spawn().unwrap();
        drop(command);
        let shown = Arc::<Mutex<String>>::default();
        let (mut reader, noted) = (File::from(terminal.try_clone().unwrap()), Arc::clone(&shown));
        // It ends with the last process that has the terminal open, which is the end of the test at the latest.
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                noted.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self {
            terminal: Mutex::new(terminal.into()),
            shown,
            seen: Mutex::default(),
            child: Mutex::new(child),
        }
    }

    fn types(&self, text: &str) {
        self.terminal.lock().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown after what was waited for before.
    fn shows(&self, text: &str) {
        let mut seen = self.seen.lock().unwrap();
        let found = wait::within(BOUND, || {
            let shown = self.shown.lock().unwrap();
            shown[*seen..].find(text).map(|at| *seen + at + text.len())
        });
        *seen = found.unwrap_or_else(|| panic!("not shown: {text}\n{}", self.shown.lock().unwrap()));
    }

    /// Waits until the shell reads from the terminal.
    fn is_back(&self) {
        self.types("echo back $((40 + 2))\n");
        self.shows("back 42");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may have ended by itself.
        child.kill().ok();
        child.wait().unwrap();
    }
}

const BOUND: Duration = Duration::from_secs(20);
