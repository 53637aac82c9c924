//! `keywheel guard`: a small process beside a rotator, which kills the rotator's programs when the rotator is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use keywheel_core::program::{Guard, Program, guard};

use crate::exit::Failure;
use crate::shutdown::Signals;

/// Starts one for these programs; nothing where there are none.
///
/// # Errors
/// It cannot be started.
pub(super) fn watch(programs: Vec<&mut Program>) -> Result<(), Failure> {
    if programs.is_empty() {
        return Ok(());
    }
    // This program, also where its file was replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("keywheel").arg(SUBCOMMAND);
    for (name, _) in std::env::vars_os().filter(|(name, _)| Program::holds_back(name)) {
        command.env_remove(name);
    }
    let guard = Guard::start(command)
        .map_err(|error| Failure::other(format!("cannot start the guard of programs: {error}")))?;
    for program in programs {
        program.guard = Some(guard.clone());
    }
    Ok(())
}

/// Serves the rotator at the other end of standard input, until it is gone.
///
/// # Errors
/// Whoever started this is no rotator.
pub(super) async fn serve() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::usage(format!("this is for the rotator alone: {error}"));
    // What asks the rotator to end does not end what it still has to do.
    let _taken = Signals::listen().map_err(failed)?;
    rustix::thread::set_name(c"keywheel-guard").map_err(|errno| failed(errno.into()))?;
    let served = tokio::task::spawn_blocking(|| guard(io::stdin().lock())).await;
    served.map_err(io::Error::other).flatten().map_err(failed)
}

/// The subcommand that the program starts itself with.
pub(crate) const SUBCOMMAND: &str = "guard";
