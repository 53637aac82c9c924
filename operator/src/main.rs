//! The `keywheel-operator` program.

mod cli;
mod cluster;
mod commands;
mod exit;
mod logging;

use std::process::ExitCode;

use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

use crate::cli::Cli;
use crate::exit::Failure;

/// Freed memory is wiped: keys of certificates pass through it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let ended = logging::init(cli.log_format).and_then(|()| {
        // Reviews are short computations: one thread answers them, and does not keep memory for others.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::other(format!("cannot start: {error}")))?;
        runtime.block_on(commands::dispatch(cli.command))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
