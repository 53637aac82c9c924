//! `keywheel agent`: delivers and keeps fresh until it is told to stop, by a signal or at the admin endpoint.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::State;
use keywheel_core::config::Config;
use keywheel_core::engine::{Engine, Next};
use tokio::sync::{Notify, oneshot};
use tracing::{error, info};

use super::begin::{Begun, Confines, begin};
use super::{clock, progress};
use crate::cli::AgentArgs;
use crate::endpoints::{Change, Endpoints};
use crate::exit::Failure;
use crate::footprint;
use crate::shutdown::{Asked, Signals};

/// Delivers everything once.
pub(crate) async fn once(args: &AgentArgs) -> Result<(), Failure> {
    let Begun { config, state, confines } = begin(args)?;
    Ok(Engine::build_beside(&config, &clock(), &state, &confines.beside())?.once().await?)
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again, and a bad new one is refused.
pub(crate) async fn agent(args: &AgentArgs) -> Result<(), Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    let path = &args.config;
    let Begun { config, state, confines } = begin(args)?;
    let mut engine = Engine::build_beside(&config, &clock(), &state, &confines.beside())?;
    let quit = Arc::new(Notify::new());
    let mut endpoints = Endpoints::open(&config, &engine, &quit).await?;
    // Engine and endpoints have what they need of it; a large one is not kept beside them.
    drop(config);
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "started");
    let again = Again { path, state: &state, confines: &confines };
    while let Some(next) = run(engine, again, &endpoints, &mut signals, &quit).await? {
        endpoints.take(next.endpoints);
        info!(config = %path.display(), "runs with the new configuration");
        engine = next.engine;
    }
    info!("stopped");
    Ok(())
}

/// Runs one engine to its end; returns the next one when a new configuration is to take over.
async fn run(
    engine: Engine,
    again: Again<'_>,
    endpoints: &Endpoints,
    signals: &mut Signals,
    quit: &Notify,
) -> Result<Option<Prepared>, Failure> {
    let (stop, stopped) = oneshot::channel::<Next>();
    let (beginning, quiet, status) = (engine.beginning(), engine.quiet(), engine.status());
    // A dropped sender stops the engine, too.
    let running = engine.run(async { stopped.await.unwrap_or(Next::Nobody) });
    let rest = async {
        // A start that fails goes on trying; it rests meanwhile.
        beginning.wait(REST).await.ok();
        let clock = clock();
        loop {
            // The connections that the start, or the polls, were made with are closed by then. Those that poll all the time give back no more often than that.
            clock.sleep_until(clock.instant() + SETTLE).await;
            footprint::give_back();
            quiet.notified().await;
        }
    };
    let rest = async { tokio::join!(progress::tell(status), rest) };
    tokio::pin!(running, rest);
    let next = loop {
        tokio::select! {
            ended = &mut running => return Err(ended.err().map_or_else(|| Failure::other("the engine stopped"), Failure::from)),
            () = quit.notified() => break None,
            _ = &mut rest => {}
            asked = signals.next() => match asked {
                Asked::Stop => break None,
                Asked::Reload => match again.prepare(endpoints).await {
                    Ok(next) => break Some(next),
                    Err(failure) => error!(%failure, "the new configuration is refused; the old one stays"),
                },
            }
        }
    };
    // An engine that has ended is told nothing any more.
    stop.send(if next.is_some() { Next::Other } else { Next::Nobody }).ok();
    Ok(running.await.map(|()| next)?)
}

/// How long the first generation may take before the agent counts as at rest.
const REST: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(1);

/// A configuration that can take over: what may fail has been done.
struct Prepared {
    engine: Engine,
    endpoints: Change,
}

/// Opens what outlives the engines of this process, and the process itself where the configuration names a directory for it.
pub(super) fn open_state(config: &Config) -> Result<State, Failure> {
    Ok(match &config.state_directory {
        Some(directory) => State::open(directory)?,
        None => State::in_memory(),
    })
}

/// What a configuration that is read again starts from.
#[derive(Clone, Copy)]
struct Again<'a> {
    path: &'a Path,
    state: &'a State,
    confines: &'a Confines,
}

impl Again<'_> {
    async fn prepare(self, endpoints: &Endpoints) -> Result<Prepared, Failure> {
        let config = self.confines.load(self.path)?;
        if config.state_directory.as_deref() != self.state.directory() {
            return Err(Failure::usage(
                "`state_directory` cannot change while the agent runs; start it again",
            ));
        }
        let engine = Engine::build_beside(&config, &clock(), self.state, &self.confines.beside())?;
        let endpoints = endpoints.prepare(&config, &engine).await?;
        Ok(Prepared { engine, endpoints })
    }
}
