//! Logs to standard error: text on a terminal, JSON elsewhere. `KEYWHEEL_LOG` takes a level; it reaches Keywheel's own events alone.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::cli::LogFormat;
use crate::exit::Failure;

/// Sets the program's log up.
///
/// # Errors
/// `KEYWHEEL_LOG` that is no level.
pub(crate) fn init(format: Option<LogFormat>) -> Result<(), Failure> {
    let wanted = std::env::var("KEYWHEEL_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { &wanted };
    let level: LevelFilter = wanted
        .parse()
        .map_err(|_| Failure::usage(format!("KEYWHEEL_LOG: {wanted:?} is not a level; try info or debug")))?;
    let terminal = std::io::stderr().is_terminal();
    let is_text = match format {
        Some(LogFormat::Text) => true,
        Some(LogFormat::Json) => false,
        None => terminal,
    };
    let layer = match is_text {
        true => fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false).boxed(),
        false => fmt::layer().json().with_writer(std::io::stderr).flatten_event(true).boxed(),
    };
    // The first is that of the audit.
    let own = ["keywheel", "keywheel_operator", "keywheel_core", "keywheel_providers"];
    registry().with(layer.with_filter(Targets::new().with_targets(own.map(|target| (target, level))))).init();
    Ok(())
}
