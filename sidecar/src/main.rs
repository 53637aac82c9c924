//! The `keywheel` program: takes secrets from where they live, delivers them, keeps them fresh.

mod admin;
mod cli;
mod closed;
mod commands;
mod endpoint;
mod endpoints;
mod exit;
mod footprint;
mod heap;
mod helper;
mod itself;
mod logging;
mod output;
mod run;
mod shutdown;
mod table;
mod terminal;
mod traces;
mod variables;

use std::process::ExitCode;

use clap::Parser;
use tracing::warn;
use zeroizing_alloc::ZeroAlloc;

use crate::cli::{Cli, Command};
use crate::exit::Failure;
use crate::heap::Heap;
use crate::traces::Traces;

/// Freed memory is wiped, also that of libraries which copy a value on its way.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Heap> = ZeroAlloc(Heap::new());

fn main() -> ExitCode {
    footprint::share_one_heap();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let done = begin(&cli).and_then(|traces| run(cli.command, traces));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// Sets up what the program says of itself.
fn begin(cli: &Cli) -> Result<Option<Traces>, Failure> {
    // The others are over before anybody would look at what they did.
    let is_traced = matches!(cli.command, Command::Agent(_) | Command::Run(_) | Command::Rotate(_));
    let begun = if is_traced { traces::begin() } else { Ok(None) };
    let why_not = begun.as_ref().err().cloned();
    let (layer, traces) = begun.ok().flatten().unzip();
    logging::init(cli.log_format, cli.audit_log.as_deref(), layer)?;
    if let Some(reason) = why_not {
        warn!(reason, "no traces are sent");
    }
    Ok(traces)
}

/// Does what was asked for; returns the exit code.
fn run(command: Command, traces: Option<Traces>) -> Result<u8, Failure> {
    if let Command::Completions { shell } = command {
        return commands::completions(shell).map(|()| 0);
    }
    closed::close()?;
    // The command of `run` is the user's, with the limits that the user gave it.
    if !matches!(command, Command::Run(_)) {
        closed::forbid_core_dumps()?;
    }
    // The agent's hooks have what their user gave them, too: it goes on by itself once the helper runs.
    if !matches!(command, Command::Run(_) | Command::Agent(_) | Command::Helper) {
        closed::keep_private()?;
    }
    // One thread waits for everything; a few more exist for the moments in which files are written.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let work = commands::dispatch(command);
        match traces {
            Some(traces) => traces.beside(work).await,
            None => work.await,
        }
    });
    // A file operation that hangs (a dead network mount, say) does not keep the program.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}
