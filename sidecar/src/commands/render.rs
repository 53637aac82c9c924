//! `keywheel render --dry-run`: what a delivery would change; names, modes and versions, never values.

use std::path::Path;

use keywheel_core::State;
use keywheel_core::engine::Engine;
use keywheel_core::notify::Supervisor;

use super::{beside, clock, load};
use crate::exit::Failure;
use crate::output;

pub(crate) async fn render(path: &Path) -> Result<(), Failure> {
    let beside = beside().with_supervisor(Supervisor::absent());
    let plans = Engine::build_beside(&load(path)?, &clock(), &State::in_memory(), &beside)?.plan().await?;
    let mut text = String::new();
    for (delivery, changes) in plans {
        text.push_str(&format!(
            "{delivery}: {}\n",
            if changes.is_empty() { "nothing to change" } else { "would change" }
        ));
        for change in changes {
            text.push_str(&format!("  {change}\n"));
        }
    }
    output::print(text.as_bytes())
}
