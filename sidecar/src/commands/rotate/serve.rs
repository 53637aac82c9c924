//! `keywheel rotate serve`: by the schedules, and at once where an incident is reported.

use std::path::Path;

use keywheel_core::rotation::Server;
use tracing::info;

use super::{Rotation, endpoint};
use crate::admin::answering;
use crate::endpoint::Endpoint;
use crate::exit::Failure;
use crate::shutdown::{Asked, Signals};

pub(super) async fn serve(path: &Path) -> Result<(), Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    let mut rotation = Rotation::load(path, &[])?;
    let server = Server::new(std::mem::take(&mut rotation.rotators), &rotation.clock);
    if rotation.incidents.is_some() && rotation.admin.is_none() {
        return Err(Failure::usage(
            "`incidents` are reported at the admin endpoint: it needs `admin: {listen: …}`",
        ));
    }
    let incidents = rotation.incidents.take();
    let router = endpoint::router(&server.handle(), incidents, &rotation.clock).await?;
    let _admin = match rotation.admin.take() {
        Some(place) => Some(Endpoint::bind(place).await?.serve(answering(router))),
        None => None,
    };
    let rotations = server.handle().looks().len();
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), rotations, "started");
    let shutdown = async {
        while signals.next().await != Asked::Stop {
            info!("the configuration is read at the start alone: start it again");
        }
    };
    rotation.within_sessions(server.run(shutdown)).await;
    info!("stopped");
    Ok(())
}
