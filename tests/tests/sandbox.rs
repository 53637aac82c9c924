//! Inside its sandbox the agent reads, writes, connects to and runs what its configuration names, and nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(unsafe_code, reason = "a page is mapped, to see that it cannot be")]

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_sidecar::sandbox::{Allowed, close};
use keywheel_tests::{Launch, Signal, Tmpfs, process, wait};
use nix::sys::ptrace;
use nix::unistd::Pid;
use rustix::mm::{MapFlags, ProtFlags};

const BOUND: Duration = Duration::from_secs(20);

fn configuration(source: &Path, directory: &Path, more: &str) -> String {
    format!(
        "providers: {{local: {{kind: file, root: {}}}}}\ndeliveries:\n  - name: orders\n    directory: {}\n    \
         secrets: {{db: \"local://db\"}}\n{more}",
        source.display(),
        directory.display()
    )
}

/// A folder with a source, and a volume.
struct Scene {
    folder: tempfile::TempDir,
    volume: Tmpfs,
}

impl Scene {
    fn set() -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), volume: Tmpfs::mount(1 << 20) };
        fs::create_dir(scene.source()).unwrap();
        fs::write(scene.source().join("db"), "first").unwrap();
        scene
    }

    fn source(&self) -> std::path::PathBuf {
        self.folder.path().join("source")
    }

    fn directory(&self) -> std::path::PathBuf {
        self.volume.path().join("orders")
    }

    fn configuration(&self, more: &str) -> String {
        configuration(&self.source(), &self.directory(), more)
    }

    fn delivered(&self) -> String {
        fs::read_to_string(self.directory().join("db/value")).unwrap_or_default()
    }
}

/// Maps a page of memory with that protection.
fn map(protection: ProtFlags) -> rustix::io::Result<()> {
    // SAFETY: a new mapping at a place of the kernel's choice touches no other memory.
    unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, protection, MapFlags::PRIVATE) }.map(drop)
}

#[test]
fn what_is_not_allowed_fails() {
    let scene = Scene::set();
    let directory = scene.directory();
    fs::create_dir(&directory).unwrap();
    let (known, unknown) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let admin = keywheel_tests::ports::free();
    let more = format!(
        "    verify: {{tcp: \"{}\"}}\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\n",
        known.local_addr().unwrap()
    );
    let file = scene.folder.path().join("own/keywheel.yaml");
    let environment = Environment::default();
    let config =
        Config::parse(&file, &scene.configuration(&more), &keywheel_providers::registry(), &environment)
            .unwrap();
    let allowed = Allowed::of(&config, &file, &environment, None);
    let beside = scene.volume.path().join("beside");
    let mut bystander = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    let bystander_pid = Pid::from_raw(bystander.id().try_into().unwrap());
    let source = scene.source().join("db");

    // The threads that there are stay as they are: this one's end takes the sandbox with it.
    let inside = std::thread::spawn(move || {
        assert_eq!(close(&allowed, false).unwrap().missing, [""; 0], "this kernel can do all of it");
        assert_eq!(fs::read(source).unwrap(), b"first");
        fs::write(directory.join("file"), "x").unwrap();
        fs::create_dir(directory.join("folder")).unwrap();
        fs::rename(directory.join("file"), directory.join("folder/file")).unwrap();
        TcpStream::connect(known.local_addr().unwrap()).unwrap();
        TcpListener::bind(("127.0.0.1", admin)).unwrap();

        let denied = |what: &str, done: std::io::Result<()>| {
            assert_eq!(done.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied), "{what}");
        };
        denied("read", fs::read("/etc/passwd").map(drop));
        denied("read another process", fs::read("/proc/1/environ").map(drop));
        denied("write", fs::write(&beside, "x"));
        denied("make a folder", fs::create_dir(&beside));
        denied("move out", fs::rename(directory.join("folder/file"), &beside));
        denied("connect", TcpStream::connect(unknown.local_addr().unwrap()).map(drop));
        denied("listen", TcpListener::bind("127.0.0.1:0").map(drop));
        denied("execute", Err(Command::new("/bin/true").exec()));
        assert!(Command::new("/bin/true").status().is_err(), "no process can be made");
        let errno = |result: nix::Result<()>| result.unwrap_err();
        assert_eq!(errno(ptrace::attach(bystander_pid)), nix::Error::EPERM);
        assert_eq!(errno(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)), nix::Error::EPERM);
        let killed = nix::sys::signal::kill(bystander_pid, nix::sys::signal::Signal::SIGKILL);
        assert_eq!(errno(killed), nix::Error::EPERM, "no hook sends a signal");
        assert!(
            map(ProtFlags::READ | ProtFlags::WRITE).is_ok() && map(ProtFlags::EXEC).is_err(),
            "nothing becomes code"
        );
    });
    let seen = inside.join();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    seen.unwrap();
}

#[test]
fn the_agent_is_confined_in_every_thread_and_says_so() {
    let scene = Scene::set();
    let agent = Launch::agent(&scene.configuration("")).args(["--sandbox", "on"]).start();
    agent.wait_ready(BOUND);
    for task in fs::read_dir(format!("/proc/{}/task", agent.process().pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Umask:\t0077"] {
            assert!(status.is_empty() || status.contains(line), "{line}\n{status}");
        }
    }
    assert_eq!(agent.logged("the sandbox is closed").len(), 1);
    assert_eq!(agent.terminate(BOUND), Some(0));
}

#[test]
fn a_source_that_is_turned_into_a_link_elsewhere_delivers_nothing() {
    let scene = Scene::set();
    let reference = format!("file://{}/db", scene.source().display());
    let configuration = scene.configuration("").replace("local://db", &reference);
    let agent = Launch::agent(&configuration).start();
    agent.wait_ready(BOUND);
    assert_eq!(scene.delivered(), "first");
    // By links inside of its folder, as the kubelet does it, it goes on.
    fs::create_dir(scene.source().join("..1")).unwrap();
    fs::write(scene.source().join("..1/db"), "second").unwrap();
    symlink("..1/db", scene.source().join("link")).unwrap();
    fs::rename(scene.source().join("link"), scene.source().join("db")).unwrap();
    wait::until(BOUND, "the second value", || (scene.delivered() == "second").then_some(()));
    symlink("/etc/passwd", scene.source().join("link")).unwrap();
    fs::rename(scene.source().join("link"), scene.source().join("db")).unwrap();
    let error = wait::until(BOUND, "the link to be refused", || {
        let status = agent.status();
        let error = status["deliveries"][0]["secrets"][0]["error"].as_str().map(str::to_owned);
        error.filter(|error| error.contains("may not be read"))
    });
    assert!(error.contains("db"), "{error}");
    assert_eq!(scene.delivered(), "second");
}

#[test]
fn a_configuration_that_needs_more_is_refused_and_the_old_one_stays() {
    let scene = Scene::set();
    let hook = |script: &str| {
        scene.configuration(&format!("    on_change: [exec: {{command: [/bin/sh, -c, {script:?}]}}]\n"))
    };
    let agent = Launch::agent(&hook("true")).start();
    agent.wait_ready(BOUND);
    let admin = format!("\nadmin: {{listen: \"{}\"}}\n", agent.admin_address().trim_start_matches("http://"));
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("t.j2"), "{{ db.value }}").unwrap();
    let refused = "the new configuration is refused; the old one stays";
    let template =
        format!("    files: [{{path: t, template_file: {}}}]\n", outside.path().join("t.j2").display());
    for (nth, more) in [
        (1, hook("touch /tmp/never")),
        (2, scene.configuration("    verify: {tcp: \"127.0.0.1:9\"}\n")),
        (3, scene.configuration("    on_change: [signal: {process: sh, signal: HUP}]\n")),
        (4, scene.configuration("").replace("/orders", "/other")),
        (5, hook("true") + &template),
    ] {
        agent.rewrite_config(&(more + &admin));
        agent.process().signal(Signal::HUP);
        wait::until(BOUND, "the refusal", || (agent.logged(refused).len() == nth).then_some(()));
        let said = agent.logged(refused)[nth - 1]["failure"].to_string();
        assert!(said.contains("start it again"), "{said}");
    }
    agent.rewrite_config(&(hook("true").replace("secrets:", "overlap: 1s\n    secrets:") + &admin));
    agent.process().signal(Signal::HUP);
    wait::until(BOUND, "the new configuration", || {
        (agent.logged("runs with the new configuration").len() == 1).then_some(())
    });
    fs::write(scene.source().join("db"), "second").unwrap();
    wait::until(BOUND, "the second value", || (scene.delivered() == "second").then_some(()));
}

#[test]
fn a_hook_runs_outside_and_ends_with_the_agent() {
    let scene = Scene::set();
    let told = scene.folder.path().join("told");
    let script = format!(
        "umask > {0}.new; id -u >> {0}.new; cat /etc/passwd > /dev/null && echo $$ >> {0}.new; mv {0}.new {0}; sleep 600",
        told.display()
    );
    let more = format!("    on_change: [exec: {{command: [/bin/sh, -c, {script:?}], timeout: 10m}}]\n");
    let agent = Launch::agent(&scene.configuration(&more)).env("VAULT_TOKEN", "canary").start();
    let told = wait::until(BOUND, "the hook", || fs::read_to_string(&told).ok());
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 3 && lines[0] != "0077", "{told}");
    let helper = process::children(agent.process().pid());
    let [helper] = helper[..] else { panic!("one helper: {helper:?}") };
    let environment = fs::read(format!("/proc/{helper}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("canary"));
    agent.process().signal(Signal::KILL);
    for pid in [lines[2].parse().unwrap(), helper] {
        wait::until(BOUND, "it to be gone", || process::is_gone(pid).then_some(()));
    }
}

#[test]
fn there_is_no_helper_where_there_is_nothing_to_run() {
    let scene = Scene::set();
    let agent = Launch::agent(&scene.configuration("")).start();
    agent.wait_ready(BOUND);
    assert_eq!(process::children(agent.process().pid()), [0; 0]);
}

#[test]
fn a_program_that_gives_credentials_is_told_of() {
    let scene = Scene::set();
    let aws = "  aws: {kind: aws, region: eu-west-1}\n";
    let configuration =
        scene.configuration("").replace("providers: {local:", "providers:\n  local:").replace("}}\n", "}\n");
    let configuration = configuration.replacen("deliveries:", &format!("{aws}deliveries:"), 1);
    let launch = || {
        let launch = Launch::agent(&configuration);
        fs::create_dir(launch.folder().join(".aws")).unwrap();
        let profile = "[default]\ncredential_process = /bin/never\n";
        fs::write(launch.folder().join(".aws/config"), profile).unwrap();
        launch
    };
    let strict = launch().args(["--sandbox", "on"]).output();
    assert_eq!(strict.code, Some(64), "{}", strict.stderr);
    assert!(strict.stderr.contains("credential_process"), "{}", strict.stderr);
    let agent = launch().start();
    agent.wait_ready(BOUND);
    assert!(agent.logs().contains("there is no sandbox"), "{}", agent.logs());
}
