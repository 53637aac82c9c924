//! `keywheel check`: everything that can be known without asking a server; and, if wanted, by asking.

mod online;
mod report;

use std::fmt::Write as _;
use std::path::Path;

use keywheel_core::State;
use keywheel_core::client::Client;
use keywheel_core::config::Config;
use keywheel_core::deliver::missing_mount_options;
use keywheel_core::engine::Engine;
use keywheel_core::notify::Supervisor;
use keywheel_core::rotation::{RotationConfig, Rotator};
use keywheel_sidecar::sandbox::{self, Allowed};

use self::online::Rotated;
use super::{begin, beside, clock, load};
use crate::cli::CheckArgs;
use crate::exit::Failure;
use crate::output;

pub(crate) async fn check(args: &CheckArgs) -> Result<(), Failure> {
    let path = &args.config;
    let mut config = load(path)?;
    let rotations = std::mem::take(&mut config.rotations);
    let rotated: Vec<Rotated> = rotations.iter().map(Rotated::of).collect();
    let summary = summary(&config, rotations.len());
    let client = build(&config, rotations)?;
    let mut text = format!("{}: good ({summary})\n", path.display());
    if !config.deliveries.is_empty() {
        text.push_str(&sandbox_of(&begin::allowed(&config, path)));
        text.push_str(&advice(&config));
    }
    output::print(text.as_bytes())?;
    match args.online {
        true => online::examine(&config, &rotated, &client).await,
        false => Ok(()),
    }
}

/// Builds all that the configuration describes, once; returns the client of its providers.
fn build(config: &Config, rotations: Vec<RotationConfig>) -> Result<Client, Failure> {
    let (clock, state) = (clock(), State::in_memory());
    if rotations.is_empty() || !config.deliveries.is_empty() {
        let beside = beside().with_supervisor(Supervisor::absent());
        drop(Engine::build_beside(config, &clock, &state, &beside)?);
    }
    let client = Client::build(&config.providers, &clock, &state)?;
    for rotation in rotations {
        drop(Rotator::build(rotation, &client, &clock)?);
    }
    Ok(client)
}

fn summary(config: &Config, rotations: usize) -> String {
    let secrets: usize = config.deliveries.iter().map(|delivery| delivery.secrets.len()).sum();
    let mut parts = vec![
        counted(config.providers.len(), "provider", "providers"),
        counted(config.deliveries.len(), "delivery", "deliveries"),
        counted(secrets, "secret", "secrets"),
    ];
    if rotations > 0 {
        parts.push(counted(rotations, "rotation", "rotations"));
    }
    parts.join(", ")
}

/// Returns the table of what an agent with this configuration may do.
fn sandbox_of(allowed: &Allowed) -> String {
    let mut text = String::from("\nin its sandbox, `keywheel agent` may\n");
    for (what, which) in allowed.rows() {
        // A text takes whatever is written to it.
        writeln!(text, "  {what:<9} {which}").ok();
    }
    for file in sandbox::programs_that_nobody_lists(allowed) {
        writeln!(text, "\n{} has a `credential_process`: there is no sandbox", file.display()).ok();
    }
    text
}

/// Returns what the volumes of the deliveries should be mounted with.
fn advice(config: &Config) -> String {
    let of_delivery = |directory: &Path| {
        let missing = missing_mount_options(directory);
        (!missing.is_empty())
            .then(|| format!("\n{}: mount its volume with {}\n", directory.display(), missing.join(",")))
    };
    config.deliveries.iter().filter_map(|delivery| of_delivery(&delivery.directory)).collect()
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
