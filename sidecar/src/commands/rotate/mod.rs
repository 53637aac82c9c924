//! `keywheel rotate`: rotates secrets at their source, once or by schedule.

mod endpoint;
mod once;
mod report;
mod serve;

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use keywheel_core::client::Client;

use keywheel_core::incident::IncidentsConfig;
use keywheel_core::provider::Ending;
use keywheel_core::rotation::{Ask, Rotator};
use keywheel_core::{Clock, State};

use self::report::Report;
use super::{clock, guard, load};
use crate::cli::{RotateArgs, RotateCommand};
use crate::endpoint::Place;
use crate::endpoints::admin_place;
use crate::exit::Failure;
use crate::output;

pub(crate) async fn rotate(args: RotateArgs) -> Result<(), Failure> {
    match args.command {
        None => once::once(args.once).await,
        Some(RotateCommand::Serve { config }) => serve::serve(&config).await,
        Some(RotateCommand::Status { config, json }) => status(&config, &[], json).await,
        Some(RotateCommand::Rollback { name, config, reason }) => {
            let rotation = Rotation::load(&config, &[name])?;
            let ask = Ask { roll_back: true, reason, ..Ask::default() };
            once::advance(&rotation, &ask, false, false).await
        }
    }
}

/// The rotations of a configuration, ready to be run.
struct Rotation {
    client: Client,
    clock: Clock,
    rotators: Vec<Rotator>,
    admin: Option<Place>,
    incidents: Option<IncidentsConfig>,
}

impl Rotation {
    /// Builds the rotations of these names, or all of them.
    fn load(path: &Path, names: &[String]) -> Result<Self, Failure> {
        let mut config = load(path)?;
        let known: Vec<&str> = config.rotations.iter().map(|rotation| rotation.name.as_str()).collect();
        if known.is_empty() {
            return Err(Failure::usage(format!("{} has no `rotations`", path.display())));
        }
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            let known = known.join(", ");
            return Err(Failure::usage(format!("there is no rotation {unknown:?}; known: {known}")));
        }
        let clock = clock();
        let client = Client::build(&config.providers, &clock, &State::in_memory())?;
        let rotations = std::mem::take(&mut config.rotations).into_iter();
        let mut rotations: Vec<_> =
            rotations.filter(|rotation| names.is_empty() || names.contains(&rotation.name)).collect();
        guard::watch(rotations.iter_mut().flat_map(|rotation| rotation.plan.programs()));
        let rotators = rotations
            .into_iter()
            .map(|rotation| Rotator::build(rotation, &client, &clock))
            .collect::<Result<_, _>>()?;
        let (admin, incidents) = (admin_place(&config), config.incidents.take());
        Ok(Self { client, clock, rotators, admin, incidents })
    }

    /// Does `work` while the providers' sessions are kept alive, and ends them.
    async fn within_sessions<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = self.client.maintain() => work.await,
        };
        self.client.close(Ending::Revoke, CLOSE_LIMIT).await;
        done
    }
}

async fn status(path: &Path, names: &[String], json: bool) -> Result<(), Failure> {
    let rotation = Rotation::load(path, names)?;
    let looks = join_all(rotation.rotators.iter().map(Rotator::look));
    let looks = rotation.within_sessions(looks).await;
    let reports: Vec<Report> =
        rotation.rotators.iter().zip(looks).map(|(rotator, look)| Report::of_look(rotator, look)).collect();
    output::print(report::write(&reports, json, rotation.clock.now()).as_bytes())?;
    report::failure(&reports)
}

/// How long ending the sessions may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
