//! `keywheel guard`: a small process beside a rotator, which kills the rotator's programs when the rotator is killed.

use std::io;

use keywheel_core::program::{Guard, Program, serve_guard};

use crate::exit::Failure;
use crate::itself;
use crate::shutdown::Signals;

/// Has one guard these programs, from the first that is run.
pub(super) fn watch<'a>(programs: impl Iterator<Item = &'a mut Program>) {
    let mut command = itself::command(SUBCOMMAND);
    // It kills, and needs to know nothing.
    command.env_clear();
    let guard = Guard::new(command);
    for program in programs {
        program.guard = Some(guard.clone());
    }
}

/// Serves the rotator at the other end of standard input, until it is gone.
///
/// # Errors
/// Whoever started this is no rotator, or a program could not be killed.
pub(super) async fn serve() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::usage(format!("this guards a rotator's programs: {error}"));
    // What asks the rotator to end does not end what it still has to do.
    let _taken = Signals::listen().map_err(failed)?;
    rustix::thread::set_name(c"keywheel-guard").map_err(|errno| failed(errno.into()))?;
    let served = tokio::task::spawn_blocking(|| serve_guard(io::stdin())).await;
    served.map_err(io::Error::other).flatten().map_err(failed)
}

/// The subcommand that the program starts itself with.
pub(crate) const SUBCOMMAND: &str = "guard";
