//! What each command does.

mod agent;
mod check;
mod get;
mod render;

use clap::CommandFactory;
use clap_complete::Shell;
use keywheel_core::Clock;
use keywheel_core::config::Config;
use keywheel_core::environment::Environment;

use crate::cli::{Cli, Command};
use crate::exit::Failure;

pub(crate) async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Get(args) => get::get(args).await,
        Command::Agent(args) if args.once => agent::once(&args.config).await,
        Command::Agent(args) => agent::agent(&args.config).await,
        Command::Render(args) => render::render(&args.config).await,
        Command::Check { config } => check::check(&config),
        Command::Completions { shell } => completions(shell),
    }
}

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut Cli::command(), "keywheel", &mut std::io::stdout());
    Ok(())
}

fn load(path: &std::path::Path) -> Result<Config, Failure> {
    Ok(Config::load(path, &keywheel_providers::registry(), &Environment::of_process())?)
}

fn clock() -> Clock {
    Clock::system()
}
