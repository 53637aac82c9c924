//! Sets the stage for the strategy `exec`: a program that replaces accounts of a real database, and stops at a chosen moment.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{OpenBao, Postgres, Rotations};

/// A [`Rotations`] whose accounts a program replaces.
#[derive(Debug)]
pub struct Scripts {
    /// The stage.
    pub stage: Rotations<Postgres>,
    folder: TempDir,
}

/// How a configuration names the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// One program for all steps.
    One,
    /// One for each step.
    Each,
}

impl Scripts {
    /// Sets the stage with two accounts.
    pub fn set() -> Self {
        let folder =
            tempfile::Builder::new().prefix("keywheel-scripts-").tempdir().expect("a temporary folder");
        let stage = Rotations::<Postgres>::on(OpenBao::start());
        stage.database.execute("CREATE ROLE orders_b NOLOGIN; GRANT SELECT, INSERT ON orders TO orders_b");
        let scripts = Self { stage, folder };
        scripts.write("port", &scripts.stage.database.port().to_string());
        scripts.write(PROGRAM, include_str!("rotate.sh"));
        let executable = fs::Permissions::from_mode(0o700);
        fs::set_permissions(scripts.at(PROGRAM), executable).expect("an executable program");
        scripts
    }

    /// Has one account be replaced in place from now on.
    pub fn replace_in_place(&self) {
        self.write("in-place", "");
    }

    /// Returns a configuration of the rotation `orders` that publishes at `bao`.
    pub fn configuration(&self, bao: &str, form: Form) -> String {
        let program = self.at(PROGRAM);
        let program = program.display();
        let commands = match form {
            Form::One => format!("command: [{program}]"),
            Form::Each => {
                let each = STEPS.map(|step| format!("{step}: [{program}, by-itself]"));
                format!("commands: {{{}}}", each.join(", "))
            }
        };
        let is_gapless = !self.at("in-place").exists();
        let strategy = format!(
            " {{exec: {{{commands}, fields: [username, password], gapless: {is_gapless}, \
             password: {{length: 24, classes: [lower, upper, digit]}}}}}}"
        );
        self.stage.configuration_of(bao, &strategy, "{every: 30d}", "100ms", "")
    }

    /// Has the program wait at a place (`begin`, `told`, `middle`, `end`) of a step.
    pub fn stop_at(&self, step: &str, place: &str) {
        self.write("stop", &format!("{step} {place}"));
    }

    /// Returns the process that waits, if one does.
    pub fn stopped(&self) -> Option<u32> {
        self.number("stopped")
    }

    /// Has the program wait nowhere; one that waits still goes on.
    pub fn go_on(&self) {
        self.write("go", "");
        self.remove("stop");
    }

    /// Forgets what has stopped.
    pub fn forget(&self) {
        for name in ["stop", "stopped", "go"] {
            self.remove(name);
        }
    }

    /// Has the program end with a code at a step.
    pub fn fail_at(&self, step: &str, code: u8) {
        self.write("fail", &format!("{step} {code}"));
    }

    /// Has the program fail nowhere.
    pub fn mend(&self) {
        self.remove("fail");
    }

    /// Has the program leave another one running at a step.
    pub fn leave_at(&self, step: &str) {
        self.write("leave", step);
    }

    /// Returns the process that was left, if one was.
    pub fn left(&self) -> Option<u32> {
        self.number("left")
    }

    /// Counts how often the program was told to do a step.
    pub fn count_of(&self, step: &str) -> usize {
        let steps = fs::read_to_string(self.at("steps")).unwrap_or_default();
        steps.lines().filter(|line| *line == step).count()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn number(&self, name: &str) -> Option<u32> {
        fs::read_to_string(self.at(name)).ok()?.trim().parse().ok()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).expect("a file of the program's");
    }

    fn remove(&self, name: &str) {
        // It may not be there.
        fs::remove_file(self.at(name)).ok();
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        // One that waits ends when its folder is gone.
        let left = self.left().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(left) = left {
            kill_process(left, Signal::KILL).ok();
        }
    }
}

/// The steps.
pub const STEPS: [&str; 6] = ["create", "check", "set", "test", "undo", "retire"];
/// Where the program can be stopped in each step.
pub const PLACES: [&str; 4] = ["begin", "told", "middle", "end"];
const PROGRAM: &str = "rotate";
