//! Starts this program a second time, beside this process.

use std::os::unix::process::CommandExt;
use std::process::Command;

use keywheel_core::program::Program;

/// Returns this program with a subcommand, also where its file was replaced; its environment holds no credential.
pub(crate) fn command(subcommand: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("keywheel").arg(subcommand);
    for (name, _) in std::env::vars_os().filter(|(name, _)| Program::holds_back(name)) {
        command.env_remove(name);
    }
    command
}
