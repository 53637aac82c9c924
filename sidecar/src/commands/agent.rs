//! `keywheel agent`: delivers and keeps fresh until it is told to stop.

use std::path::Path;

use keywheel_core::config::{Config, Listen};
use keywheel_core::engine::{Engine, StatusHandle};
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use super::{clock, load};
use crate::admin::Admin;
use crate::exit::Failure;
use crate::shutdown::{Asked, Signals};

/// Delivers everything once.
pub(crate) async fn once(path: &Path) -> Result<(), Failure> {
    Ok(Engine::build(&load(path)?, &clock())?.once().await?)
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again, and a bad new one is refused.
pub(crate) async fn agent(path: &Path) -> Result<(), Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    let (config, mut engine) = prepare(path)?;
    let (status, seen) = watch::channel(engine.status());
    let mut admin = AdminTask::start(config.admin, &seen).await?;
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "started");
    while let Some((config, next)) = run(engine, path, &mut signals).await? {
        status.send_replace(next.status());
        if config.admin != admin.listen {
            admin = AdminTask::start(config.admin, &seen).await?;
        }
        info!(config = %path.display(), "runs with the new configuration");
        engine = next;
    }
    info!("stopped");
    Ok(())
}

/// Runs one engine to its end; returns the next one when a new configuration is to take over.
async fn run(
    engine: Engine,
    path: &Path,
    signals: &mut Signals,
) -> Result<Option<(Config, Engine)>, Failure> {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = engine.run(async {
        // A dropped sender stops the engine, too.
        stopped.await.ok();
    });
    tokio::pin!(running);
    let next = loop {
        tokio::select! {
            ended = &mut running => return Err(ended.err().map_or_else(|| Failure::other("the engine stopped"), Failure::from)),
            asked = signals.next() => match asked {
                Asked::Stop => break None,
                Asked::Reload => match prepare(path) {
                    Ok(next) => break Some(next),
                    Err(failure) => error!(%failure, "the new configuration is refused; the old one stays"),
                },
            }
        }
    };
    drop(stop);
    Ok(running.await.map(|()| next)?)
}

fn prepare(path: &Path) -> Result<(Config, Engine), Failure> {
    let config = load(path)?;
    let engine = Engine::build(&config, &clock())?;
    Ok((config, engine))
}

/// The admin endpoint, ended when it is dropped.
#[derive(Debug)]
struct AdminTask {
    listen: Option<Listen>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl AdminTask {
    async fn start(listen: Option<Listen>, status: &watch::Receiver<StatusHandle>) -> Result<Self, Failure> {
        let task = match &listen {
            Some(listen) => Some(tokio::spawn(Admin::bind(listen).await?.run(status.clone()))),
            None => None,
        };
        Ok(Self { listen, task })
    }
}

impl Drop for AdminTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
