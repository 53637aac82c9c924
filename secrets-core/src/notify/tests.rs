//! Notifies real processes. What is waited for is polled for, up to a bound.

use std::fs;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{Event, Notifier, Signal, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::program::Program;

/// Replaces what is in a file.
pub(super) fn put(path: &Path, content: &[u8]) {
    fs::File::create(path).unwrap().write_all(content).unwrap();
}

/// A process that is killed, by its number, and reaped when the test ends.
struct Running(Child);

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Starts `program` as if it were installed under `name`.
    fn named(folder: &TempDir, name: &str, program: &str, arguments: &[&str]) -> Self {
        let path = folder.path().join(name);
        if fs::symlink_metadata(&path).is_err() {
            std::os::unix::fs::symlink(program, &path).unwrap();
        }
        Self(Command::new(&path).args(arguments).stdin(Stdio::null()).spawn().unwrap())
    }

    fn is_ended_by(&mut self) -> Option<i32> {
        let ended = || self.0.try_wait().unwrap();
        eventually_some("the process ends", ended).signal()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn eventually_some<T>(what: &str, mut test: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = test() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not within 10 s: {what}");
}

fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    eventually_some(what, || test().then_some(()));
}

/// A name that no other test's process has, of `length` bytes.
fn unique(length: usize) -> String {
    let mut name = format!("kw{}", std::process::id());
    while name.len() < length {
        name.push(fastrand::lowercase());
    }
    name
}

fn notify(notifier: &Notifier) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let event = Event {
        delivery: "orders".into(),
        directory: "/run/orders".into(),
        generation: "..2026_1".into(),
        versions: [].into(),
    };
    runtime.block_on(notifier.notify(&event))
}

fn signal(target: Target, name: &str) -> Result<String> {
    notify(&Notifier::Signal(Signal { target, number: name.parse().unwrap() }))
}

fn to(name: &str, signal_name: &str) -> Result<String> {
    signal(Target::Process(name.into()), signal_name)
}

fn assert_failed(error: &Error, is_temporary: bool, expected: &str) {
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Notify, is_temporary), "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn every_process_of_a_name_is_told_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for length in [12, 15, 16, 40] {
        let name = unique(length);
        let mut told = [(); 2].map(|()| Running::named(&folder, &name, "/bin/sleep", &["1000"]));
        let other = format!("{name}x");
        let mut spared = Running::named(&folder, &other, "/bin/sleep", &["1000"]);
        let report = eventually_some("both are there", || {
            // Until it has executed its program a process has the name of the one that started it.
            let named = told.iter().all(|process| is_program(process.pid(), &name));
            named.then(|| to(&name, "SIGTERM").unwrap())
        });
        assert!(report.starts_with("2 processes"), "{report}");
        for process in &mut told {
            assert_eq!(process.is_ended_by(), Some(15));
        }
        assert_eq!(spared.0.try_wait().unwrap(), None, "{other} is not {name}");
    }
}

#[test]
fn the_oldest_of_a_name_alone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let name = unique(14);
    let mut master = Running::named(&folder, &name, "/bin/sleep", &["1000"]);
    eventually("it is there", || is_program(master.pid(), &name));
    // A tick is a hundredth of a second: the second one begins in a later one.
    let tick = || fs::read_to_string("/proc/uptime").unwrap();
    let first = tick();
    eventually("the next tick", || tick() != first);
    let mut worker = Running::named(&folder, &name, "/bin/sleep", &["1000"]);
    eventually("so is the other", || is_program(worker.pid(), &name));
    assert_eq!(signal(Target::Oldest(name.clone()), "TERM").unwrap(), format!("process {}", master.pid()));
    assert_eq!(master.is_ended_by(), Some(15));
    assert_eq!(worker.0.try_wait().unwrap(), None);
}

fn is_program(pid: u32, name: &str) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).next().unwrap_or_default().ends_with(format!("/{name}").as_bytes())
}

#[test]
fn a_program_is_found_by_its_file_whatever_it_calls_itself() {
    let folder = tempfile::tempdir().unwrap();
    let name = unique(20);
    let path = folder.path().join(&name);
    fs::copy("/bin/sleep", &path).unwrap();
    let mut process = Running(retried(|| Command::new(&path).arg0("x: master process").arg("1000").spawn()));
    let exe = format!("/proc/{}/exe", process.pid());
    eventually("it runs", || fs::read_link(&exe).is_ok_and(|exe| exe == path));
    fs::remove_file(&path).unwrap();
    to(&name, "TERM").unwrap();
    assert_eq!(process.is_ended_by(), Some(15));
}

/// A file cannot be executed while it is open for writing, as it is in a child that another test forks at that moment.
fn retried(mut start: impl FnMut() -> std::io::Result<Child>) -> Child {
    eventually_some("it starts", || match start() {
        Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
        started => Some(started.unwrap()),
    })
}

#[test]
fn a_shell_hears_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let name = unique(15);
    let (ready, heard) = (folder.path().join("ready"), folder.path().join("heard"));
    let script = format!(
        "trap 'echo told > {}' USR1; : > {}; while :; do sleep 0.02; done",
        heard.display(),
        ready.display()
    );
    let shell = Running::named(&folder, &name, "/bin/sh", &["-c", &script]);
    eventually("the trap is set", || ready.exists());
    // Until it has executed its program, a child of the shell has its name, too.
    let report = to(&name, "usr1").unwrap();
    let told = |word: &str| word.trim_end_matches(',') == shell.pid().to_string();
    assert!(report.split(' ').any(told), "{report}");
    eventually("the trap was run", || fs::read(&heard).is_ok_and(|text| text == b"told\n"));
}

#[test]
fn nobody_is_a_temporary_failure_that_names_who_was_looked_for() {
    let name = unique(14);
    assert_failed(&to(&name, "HUP").unwrap_err(), true, &format!("there is no process named {name:?}"));
    assert_failed(&to("", "HUP").unwrap_err(), true, "shareProcessNamespace");
    // This process is never meant; others may run the same tests beside it.
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    let long = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    for own in [own.trim_end(), &long] {
        let told = to(own, "WINCH").unwrap_or_default();
        assert!(!told.split([' ', ',']).any(|word| word == std::process::id().to_string()), "{told}");
    }
}

#[test]
fn a_process_that_ended_unreaped_is_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let name = unique(13);
    let process = Running::named(&folder, &name, "/bin/true", &[]);
    let stat = format!("/proc/{}/stat", process.pid());
    eventually("it ended", || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z ")));
    assert_failed(&to(&name, "HUP").unwrap_err(), true, "there is no process");
}

#[test]
fn the_process_of_a_pid_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pid");
    let by_file = || signal(Target::PidFile(file.clone()), "TERM");
    assert_failed(&by_file().unwrap_err(), true, "cannot read the PID file");

    let mut process = Running(Command::new("/bin/sleep").arg("1000").spawn().unwrap());
    put(&file, format!("{}\n", process.pid()).as_bytes());
    assert_eq!(by_file().unwrap(), format!("process {}", process.pid()));
    assert_eq!(process.is_ended_by(), Some(15));
    assert_failed(&by_file().unwrap_err(), true, "there is no process of the number");

    put(&file, b"1\n");
    assert_failed(&by_file().unwrap_err(), true, "does not hold the number");
    put(&file, std::process::id().to_string().as_bytes());
    assert_failed(&by_file().unwrap_err(), false, "Keywheel itself");
}

#[test]
fn another_users_process_is_refused_with_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = unique(12);
    let mut process = Running::named(&folder, &name, "/bin/sleep", &["1000"]);
    eventually("it is there", || is_program(process.pid(), &name));
    let target = Signal { target: Target::Process(name.clone()), number: "TERM".parse().unwrap() };
    let sent = std::thread::spawn(move || {
        // The kernel counts users by thread; that of this thread alone changes.
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        target.send_now()
    });
    let error = sent.join().unwrap().unwrap_err();
    assert_failed(&error, false, "belongs to another user");
    assert!(error.to_string().contains("shareProcessNamespace"), "{error}");
    assert_eq!(process.0.try_wait().unwrap(), None);
}

fn exec(command: &[&str], timeout: Duration) -> Notifier {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Notifier::Exec(Program::new(command, timeout))
}

const LONG: Duration = Duration::from_secs(30);

fn shell(script: &str, timeout: Duration) -> Notifier {
    exec(&["/bin/sh", "-c", script], timeout)
}

#[test]
fn a_hook_is_told_of_what_it_runs_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told");
    let script = format!(
        "echo \"$KEYWHEEL_DELIVERY $KEYWHEEL_DIRECTORY $KEYWHEEL_GENERATION\" > {0}; cat >> {0}; cut -d' ' -f5 /proc/$$/stat >> {0}; \
         echo $$ >> {0}",
        file.display()
    );
    assert_eq!(notify(&shell(&script, LONG)).unwrap(), "ended well");
    let told = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "orders /run/orders ..2026_1");
    assert_eq!(lines[1], lines[2], "it leads a process group of its own");
}

#[test]
fn a_hook_has_none_of_our_credentials() {
    // The environment is the process's: a second one runs the test below.
    let test = "notify::tests::prints_the_environment_of_a_hook";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/kept")
        .envs(
            [
                "VAULT_TOKEN",
                "BAO_TOKEN",
                "AWS_SECRET_ACCESS_KEY",
                "KEYWHEEL_TOKEN",
                "KEYWHEEL_DELIVERY",
                "OTEL_EXPORTER_OTLP_HEADERS",
            ]
            .map(|name| (name, "canary")),
        )
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("HOME=/kept") && shown.contains("KEYWHEEL_DELIVERY=orders"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
#[ignore = "run by a_hook_has_none_of_our_credentials, in an environment of its own"]
fn prints_the_environment_of_a_hook() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("environment");
    notify(&shell(&format!("env > {}", file.display()), LONG)).unwrap();
    std::io::stdout().write_all(&fs::read(&file).unwrap()).unwrap();
}

#[test]
fn a_hook_that_fails_says_how_and_nothing_of_its_output() {
    let error = notify(&shell("echo canary; echo canary >&2; exit 3", LONG)).unwrap_err();
    assert_failed(&error, true, "exit code 3");
    assert!(!format!("{error} {error:?}").contains("canary"), "neither output nor arguments: {error}");
    assert_failed(&notify(&shell("kill -9 $$", LONG)).unwrap_err(), true, "signal 9");
    assert_failed(&notify(&exec(&["/nonexistent/hook"], LONG)).unwrap_err(), false, "no such program");
    assert_failed(&notify(&exec(&["/etc/passwd"], LONG)).unwrap_err(), false, "cannot start it");
    assert_failed(&notify(&exec(&[], LONG)).unwrap_err(), false, "");
}

#[test]
fn much_output_goes_nowhere() {
    notify(&shell("head -c 104857600 /dev/zero; head -c 104857600 /dev/zero >&2", LONG)).unwrap();
}

#[test]
fn a_daemon_that_a_hook_starts_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    notify(&shell(&format!("sleep 1000 & echo $! > {}", file.display()), LONG)).unwrap();
    let daemon = read_pid(&file).unwrap();
    assert!(is_alive(daemon));
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
}

/// A script that ignores what asks it to end, and has a child that does so too; their numbers go to files.
fn stubborn(folder: &TempDir) -> (String, [PathBuf; 2]) {
    let files = ["leader", "child"].map(|name| folder.path().join(name));
    let [leader, child] = files.each_ref().map(|path| path.display());
    let script = format!(
        "trap '' TERM HUP INT; sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' & echo $! > {child}; echo $$ > {leader}; \
         while :; do sleep 1; done"
    );
    (script, files)
}

#[test]
fn a_hook_that_does_not_end_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (script, files) = stubborn(&folder);
    let error = notify(&shell(&script, Duration::from_secs(2))).unwrap_err();
    assert_failed(&error, true, "killed after 2s");
    for file in files {
        let pid = read_pid(&file).unwrap();
        eventually("it is gone", || !is_alive(pid));
    }
}

#[test]
fn a_hook_ends_with_the_call_that_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (script, files) = stubborn(&folder);
    let notifier = shell(&script, LONG);
    let event =
        Event { delivery: "d".into(), directory: "/d".into(), generation: "g".into(), versions: [].into() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        {
            let started = async {
                while files.iter().any(|file| read_pid(file).is_none()) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let waiting = notifier.notify(&event);
            tokio::select! {
                result = waiting => panic!("it ended: {result:?}"),
                started = tokio::time::timeout(Duration::from_secs(10), started) => started.unwrap(),
            }
        }
        // Dropped by now. It is reaped too: nothing is left in the list of processes, though not our grandchild, which has another parent.
        let leader = read_pid(&files[0]).unwrap().as_raw_nonzero();
        for _ in 0..2000 {
            if !Path::new(&format!("/proc/{leader}")).exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!Path::new(&format!("/proc/{leader}")).exists());
    });
    let child = read_pid(&files[1]).unwrap();
    eventually("the child is gone", || !is_alive(child));
}

fn read_pid(file: &Path) -> Option<rustix::process::Pid> {
    super::process::read_pid(file).ok()
}

fn is_alive(pid: rustix::process::Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
