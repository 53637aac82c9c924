//! `keywheel check`: everything that can be known without asking a server.

use std::path::Path;

use keywheel_core::State;
use keywheel_core::client::Client;
use keywheel_core::engine::Engine;
use keywheel_core::notify::Supervisor;
use keywheel_core::rotation::Rotator;

use super::{beside, clock, load};
use crate::exit::Failure;
use crate::output;

pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let mut config = load(path)?;
    let (clock, state) = (clock(), State::in_memory());
    let rotations = config.rotations.len();
    if rotations == 0 || !config.deliveries.is_empty() {
        let beside = beside().with_supervisor(Supervisor::absent());
        drop(Engine::build_beside(&config, &clock, &state, &beside)?);
    }
    let client = Client::build(&config.providers, &clock, &state)?;
    for rotation in std::mem::take(&mut config.rotations) {
        drop(Rotator::build(rotation, &client, &clock)?);
    }
    let secrets: usize = config.deliveries.iter().map(|delivery| delivery.secrets.len()).sum();
    let (providers, deliveries) = (config.providers.len(), config.deliveries.len());
    let mut parts = vec![
        counted(providers, "provider", "providers"),
        counted(deliveries, "delivery", "deliveries"),
        counted(secrets, "secret", "secrets"),
    ];
    if rotations > 0 {
        parts.push(counted(rotations, "rotation", "rotations"));
    }
    let line = format!("{}: good ({})\n", path.display(), parts.join(", "));
    output::print(line.as_bytes())
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
