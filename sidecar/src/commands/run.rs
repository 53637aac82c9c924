//! `keywheel run`: a command with its secrets, under supervision.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::config::{Config, add_from_environment};
use keywheel_core::engine::{Beside, Engine, Next};
use keywheel_core::environment::Environment;
use keywheel_core::notify::Supervisor as Address;
use tokio::sync::{Notify, oneshot};

use super::agent::open_state;
use super::{clock, load};
use crate::cli::RunArgs;
use crate::endpoints::Endpoints;
use crate::exit::Failure;
use crate::run::{Doors, Kept, Plan, Settings, Signals, Supervisor, Wishes};

/// Runs the command to its end, and gives the leases and logins back after that; returns the command's exit code.
pub(crate) async fn run(args: RunArgs) -> Result<u8, Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    let (config, plan) = read(&args)?;
    let (address, restarts) = Address::channel();
    let beside = Beside {
        references: plan.references(),
        overlap: args.grace.saturating_add(START_MARGIN),
        wake: Arc::default(),
        supervisor: Some(address),
        ..super::beside()
    };
    let state = open_state(&config)?;
    let engine = Engine::build_beside(&config, &clock(), &state, &beside)?;
    let quit = Arc::new(Notify::new());
    let _endpoints = Endpoints::open(&config, &engine, &quit).await?;
    let supervisor = Supervisor::new(settings(args), plan, Kept::of(&engine, &beside), clock());
    let beginning = engine.beginning();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = engine.run(async {
        // A dropped sender stops the engine, too.
        stopped.await.ok();
        Next::Nobody
    });
    tokio::pin!(running);
    let has_ended = Cell::new(false);
    let failing = async {
        let ended = running.as_mut().await;
        has_ended.set(true);
        ended.err().map_or_else(|| Failure::other("the engine stopped"), Failure::from)
    };
    let doors = Doors { signals: &mut signals, restarts, quit: &quit };
    let ended = supervisor.run(doors, beginning, failing).await;
    // An engine that has ended is told nothing any more.
    stop.send(()).ok();
    if !has_ended.get() {
        tokio::select! {
            // What is left behind then was logged.
            _ = &mut running => {}
            // Somebody would not wait for leases and logins to be given back.
            () = signals.stop() => {}
        }
    }
    ended
}

fn read(args: &RunArgs) -> Result<(Config, Plan), Failure> {
    let registry = keywheel_providers::registry();
    let environment = Environment::of_process();
    let mut config = match &args.config {
        Some(path) => load(path)?,
        None => Config::of_providers(BTreeMap::new()),
    };
    let wishes = Wishes { env: args.env.clone(), env_from: args.env_from.clone(), keep: args.keep.clone() };
    // A variable that refers to another variable says nothing that the command could not see itself.
    let kinds = registry.names().into_iter().filter(|name| *name != "env");
    let providers: Vec<&str> = config.providers.keys().map(String::as_str).chain(kinds).collect();
    let plan = Plan::new(wishes, std::env::vars_os(), &providers)?;
    for reference in plan.references() {
        add_from_environment(&mut config.providers, &reference, &registry, &environment)?;
    }
    Ok((config, plan))
}

fn settings(args: RunArgs) -> Settings {
    Settings {
        command: args.command,
        policy: args.restart,
        grace: args.grace,
        stop_signal: args.stop_signal,
        on_change: args.on_change,
        start_within: args.start_within,
    }
}

/// How long the command may take to come up with new credentials before the old ones end.
const START_MARGIN: Duration = Duration::from_secs(10);
