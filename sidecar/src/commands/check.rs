//! `keywheel check`: everything that can be known without asking a server.

use std::path::Path;

use keywheel_core::State;
use keywheel_core::engine::Engine;
use keywheel_core::notify::Supervisor;

use super::{beside, clock, load};
use crate::exit::Failure;
use crate::output;

pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    let beside = beside().with_supervisor(Supervisor::absent());
    let engine = Engine::build_beside(&config, &clock(), &State::in_memory(), &beside)?;
    drop(engine);
    let secrets: usize = config.deliveries.iter().map(|delivery| delivery.secrets.len()).sum();
    let (providers, deliveries) = (config.providers.len(), config.deliveries.len());
    let line = format!(
        "{}: good ({}, {}, {})\n",
        path.display(),
        counted(providers, "provider", "providers"),
        counted(deliveries, "delivery", "deliveries"),
        counted(secrets, "secret", "secrets"),
    );
    output::print(line.as_bytes())
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
