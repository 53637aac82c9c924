//! What the program holds is closed to other processes of the same user, and to core dumps.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::{Process, Signal, built, wait};

/// A user without rights: root may look into any process.
const NOBODY: u32 = 65534;
const BOUND: Duration = Duration::from_secs(20);

/// A folder with the program, its configuration and its source, of a user without rights.
struct Scene(tempfile::TempDir);

impl Scene {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(built::program("keywheel"), folder.path().join("keywheel")).unwrap();
        fs::write(folder.path().join("db"), "value").unwrap();
        let here = folder.path().display();
        let configuration = format!(
            "providers: {{local: {{kind: file, root: {here}}}}}\nadmin: {{listen: \"unix:{here}/admin\"}}\ndeliveries:\n\
             - {{name: o, directory: {here}/out, allow_disk: true, secrets: {{db: \"local://db\"}}}}\n"
        );
        fs::write(folder.path().join("keywheel.yaml"), configuration).unwrap();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns a command of that user, in this folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(self.path()).env("VAULT_TOKEN", "of-the-environment");
        command
    }

    fn agent(&self) -> Process {
        let mut command = self.command("/bin/sh");
        command
            .args(["-c", "ulimit -c unlimited 2> /dev/null; exec ./keywheel agent --config keywheel.yaml"]);
        let agent = Process::start("keywheel", command, self.path());
        wait::until(BOUND, "the agent's delivery", || {
            agent.assert_running();
            fs::read(self.path().join("out/db/value")).ok()
        });
        agent
    }

    /// Tells whether that user can read a file of the process's folder in `/proc`.
    fn reads(&self, process: &Process, file: &str) -> bool {
        let path = format!("/proc/{}/{file}", process.pid());
        let read = self.command("/bin/cat").arg(path).output().unwrap();
        read.status.success()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn the_same_user_cannot_look_into_it() {
    let scene = Scene::set();
    let mut open = scene.command("/bin/sleep");
    open.arg("60");
    let open = Process::start("open", open, scene.path());
    let agent = scene.agent();
    for file in ["environ", "maps", "auxv"] {
        wait::until(BOUND, file, || scene.reads(&open, file).then_some(()));
        assert!(!scene.reads(&agent, file), "{file} is readable");
    }
}

#[test]
fn a_crash_leaves_no_core_dump() {
    let scene = Scene::set();
    let agent = scene.agent();
    agent.signal(Signal::ABORT);
    let ended = agent.wait_for_end(BOUND);
    assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!ended.core_dumped());
    let left =
        fs::read_dir(scene.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!left.into_iter().any(|name| name.contains("core")));
}

#[test]
fn a_supervised_command_is_as_open_as_its_user_wants() {
    let scene = Scene::set();
    let mut command = scene.command("/bin/sh");
    let script = "ulimit -c 8 2> /dev/null; ulimit -c; exec ./keywheel run --keep VAULT_TOKEN -- \
                  /bin/sh -c 'ulimit -c; cat /proc/$$/environ > environ && echo open'";
    command.args(["-c", script]);
    let output = command.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines, [lines[0], lines[0], "open"], "{}", String::from_utf8_lossy(&output.stderr));
}
