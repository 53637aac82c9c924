//! The beginning of `keywheel agent`: all that is done before its sandbox closes, while there is one thread.

use std::path::Path;

use keywheel_core::config::Config;
use keywheel_core::engine::Beside;
use keywheel_core::environment::Environment;
use keywheel_core::program::Runner;
use keywheel_core::{AtomicDir, State};
use keywheel_sidecar::sandbox::{self, Allowed};
use tracing::{info, warn};

use super::agent::open_state;
use super::{beside, load};
use crate::cli::{AgentArgs, Sandbox};
use crate::exit::Failure;
use crate::{closed, helper};

/// What the agent goes on with.
pub(super) struct Begun {
    pub(super) config: Config,
    pub(super) state: State,
    pub(super) confines: Confines,
}

/// What is not to be had any more.
pub(super) struct Confines {
    runner: Option<Runner>,
    /// What the sandbox allows; nothing is kept from an agent without one.
    allowed: Option<Allowed>,
}

/// Reads the configuration, starts the helper of its hooks, opens what outlives an engine, and closes the sandbox.
///
/// # Errors
/// What keeps the agent from starting; a sandbox that was insisted on and cannot be had is such a thing.
pub(super) fn begin(args: &AgentArgs) -> Result<Begun, Failure> {
    let config = load(&args.config)?;
    let allowed = allowed(&config, &args.config);
    let runner = helper::start(allowed.programs.clone())?;
    closed::keep_private()?;
    let state = open_state(&config)?;
    let allowed = match is_wanted(args.sandbox, &allowed)? {
        true => close(&config, allowed, args.sandbox)?,
        false => None,
    };
    Ok(Begun { config, state, confines: Confines { runner, allowed } })
}

/// Computes what the configuration at `path` needs.
pub(super) fn allowed(config: &Config, path: &Path) -> Allowed {
    let environment = Environment::of_process();
    let allowed = Allowed::of(config, path, &environment, keywheel_providers::cluster().as_ref());
    sandbox::with_named_files(allowed)
}

fn is_wanted(wanted: Sandbox, allowed: &Allowed) -> Result<bool, Failure> {
    if wanted == Sandbox::Off {
        return Ok(false);
    }
    let unlisted = sandbox::programs_that_nobody_lists(allowed);
    let Some(file) = unlisted.first() else { return Ok(true) };
    let file = file.display();
    if wanted == Sandbox::On {
        let reason =
            "names a program that gives credentials (`credential_process`), which no sandbox lets run";
        return Err(Failure::usage(format!(
            "{file} {reason}; log in in another way, or leave out `--sandbox on`"
        )));
    }
    warn!(%file, "there is no sandbox: the file names a program that gives credentials, which it would not let run");
    Ok(false)
}

fn close(config: &Config, allowed: Allowed, wanted: Sandbox) -> Result<Option<Allowed>, Failure> {
    // The sandbox opens to folders that are there.
    for delivery in &config.deliveries {
        AtomicDir::make(&delivery.settings()).map_err(|error| error.with("delivery", &delivery.name))?;
    }
    let is_strict = wanted == Sandbox::On;
    match sandbox::close(&allowed, is_strict) {
        Ok(closed) if closed.missing.is_empty() => info!("the sandbox is closed"),
        Ok(closed) => warn!(
            missing = closed.missing.join(", "),
            "the sandbox is closed as far as this kernel can; what is missing is not confined"
        ),
        Err(reason) if is_strict => return Err(Failure::other(format!("no sandbox: {reason}"))),
        Err(reason) => warn!(reason, "there is no whole sandbox"),
    }
    Ok(Some(allowed))
}

impl Confines {
    /// Reads a configuration that is to take over.
    ///
    /// # Errors
    /// Also a configuration that needs more than the sandbox allows.
    pub(super) fn load(&self, path: &Path) -> Result<Config, Failure> {
        let Some(own) = &self.allowed else { return load(path) };
        let config = load(path).map_err(|failure| failure.with_note(UNREADABLE))?;
        match own.lacks(&allowed(&config, path)).as_slice() {
            [] => Ok(config),
            beyond => Err(Failure::usage(format!(
                "the new configuration needs what the sandbox of this process does not allow ({}); start it again",
                beyond.join(", ")
            ))),
        }
    }

    /// Returns what every engine of the agent has beside its deliveries.
    pub(super) fn beside(&self) -> Beside {
        beside().with_runner(self.runner.clone())
    }
}

const UNREADABLE: &str =
    "(a file that the sandbox of this process does not allow cannot be read; start it again)";
