//! Cargo's own tools that a release needs, in versions that were looked at.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{command, workspace};

/// A subcommand of cargo.
pub(crate) struct Tool {
    /// What follows `cargo`.
    subcommand: &'static str,
    version: &'static str,
}

/// Writes the names and versions of what a program was built from into it, as scanners read them.
pub(crate) const AUDITABLE: Tool = Tool { subcommand: "auditable", version: "0.7.7" };
/// Writes a bill of materials.
pub(crate) const CYCLONEDX: Tool = Tool { subcommand: "cyclonedx", version: "0.5.9" };

impl Tool {
    /// Begins its command, in the workspace's root; the first use installs it into `target/tools`, which takes a minute.
    ///
    /// # Errors
    ///
    /// When it cannot be installed.
    pub(crate) fn command(&self) -> Result<Command> {
        let name = format!("cargo-{}", self.subcommand);
        let tools = workspace::target().join("tools").join(self.version);
        let program: PathBuf = tools.join("bin").join(&name);
        if !program.is_file() {
            let package = format!("{name}@{}", self.version);
            let mut install = workspace::cargo();
            command::run(
                install.args(["install", "--quiet", "--locked", "--root"]).arg(&tools).arg(package),
            )?;
        }
        let mut command = Command::new(program);
        command.arg(self.subcommand).current_dir(workspace::root());
        Ok(command)
    }
}
