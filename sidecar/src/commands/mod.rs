//! What each command does.

mod agent;
mod begin;
mod check;
mod get;
mod guard;
mod install;
mod progress;
mod refresh;
mod render;
mod rotate;
mod run;
#[cfg(feature = "schema")]
mod schema;
mod status;

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use keywheel_core::Clock;
use keywheel_core::config::Config;
use keywheel_core::engine::Beside;
use keywheel_core::environment::Environment;

use crate::cli::{Cli, Command};
use crate::exit::Failure;
use crate::helper;

pub(crate) use self::guard::SUBCOMMAND as GUARD;

/// Does what was asked for; returns the exit code.
pub(crate) async fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => return run::run(args).await,
        Command::Get(args) => get::get(args).await,
        Command::Agent(args) if args.once => agent::once(&args).await,
        Command::Agent(args) => agent::agent(&args).await,
        Command::Helper => helper::serve().await,
        Command::Guard => guard::serve().await,
        Command::Render(args) => render::render(&args.config).await,
        Command::Check(args) => check::check(&args).await,
        Command::Status(args) => status::status(&args).await,
        Command::Refresh { names, admin } => refresh::refresh(&names, &admin).await,
        Command::Rotate(args) => rotate::rotate(args).await,
        Command::Install { file } => install::install(&file),
        Command::Man { folder } => manual(&folder),
        #[cfg(feature = "schema")]
        Command::Schema => schema::schema(),
        Command::Completions { shell } => completions(shell),
    }
    .map(|()| 0)
}

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut Cli::command(), "keywheel", &mut std::io::stdout());
    Ok(())
}

fn manual(folder: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
        Failure::other(format!("cannot write the manual pages into {}: {error}", folder.display()))
    })
}

fn load(path: &Path) -> Result<Config, Failure> {
    let environment = Environment::of_process();
    Config::load(path, &keywheel_providers::registry(), &environment).map_err(|error| {
        let failure = Failure::from(error);
        let is_injected = path == Path::new(INJECTED) && environment.value("KEYWHEEL_POD_UID").is_some();
        match is_injected && !path.exists() {
            true => failure.with_note(NO_CONFIG_MAP),
            false => failure,
        }
    })
}

/// Returns what every engine of this program has beside its deliveries.
fn beside() -> Beside {
    Beside::default().with_cluster(keywheel_providers::cluster())
}

pub(crate) fn clock() -> Clock {
    Clock::system()
}

/// Where a pod that the webhook injected has its configuration.
const INJECTED: &str = "/etc/keywheel/keywheel.yaml";
const NO_CONFIG_MAP: &str = "(the ConfigMap that the pod names in its annotation keywheel.dev/config is missing, or has no `keywheel.yaml`: make it, \
    and the pod goes on)";
