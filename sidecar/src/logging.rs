//! Logs to standard error: text on a terminal, JSON elsewhere.
//!
//! `KEYWHEEL_LOG` takes a level (`info`, `debug`, …) or `TARGET=LEVEL,…`. It reaches Keywheel's own events alone: what the libraries
//! underneath say at their lower levels may hold what they carry, so nobody can turn it on.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use keywheel_core::audit::TARGET;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::cli::LogFormat;
use crate::exit::Failure;

/// Sets the program's log up, and what collects traces.
///
/// # Errors
/// `KEYWHEEL_LOG` that does not parse; a file for the audit that cannot be written.
pub(crate) fn init(
    format: Option<LogFormat>,
    audit_log: Option<&Path>,
    traces: Option<BoxedLayer>,
) -> Result<(), Failure> {
    let wanted = std::env::var("KEYWHEEL_LOG").unwrap_or_default();
    let filter = filter(if wanted.is_empty() { "info" } else { &wanted })?;
    let terminal = std::io::stderr().is_terminal();
    let layer = match format {
        Some(LogFormat::Text) => text(terminal),
        Some(LogFormat::Json) => json(),
        None if terminal => text(true),
        None => json(),
    };
    let audit = audit_log.map(open).transpose()?.map(audit);
    let layers = [audit, Some(layer.with_filter(filter).boxed()), traces];
    let layers: Vec<BoxedLayer> = layers.into_iter().flatten().collect();
    registry().with(layers).init();
    Ok(())
}

fn open(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Failure::other(format!("cannot write the audit to {}: {error}", path.display())))
}

/// Writes the events of the audit, each as one line in one call.
fn audit(file: File) -> BoxedLayer {
    let layer = fmt::layer().json().with_writer(Mutex::new(file)).flatten_event(true).with_target(false);
    layer.with_filter(Targets::new().with_target(TARGET, LevelFilter::DEBUG)).boxed()
}

fn filter(wanted: &str) -> Result<Targets, Failure> {
    let parsed: Targets = wanted.parse().map_err(|_| {
        Failure::usage(format!(
            "KEYWHEEL_LOG: {wanted:?} is not a level or TARGET=LEVEL,…; try info or debug"
        ))
    })?;
    let level = parsed.default_level().unwrap_or(LevelFilter::INFO);
    let own = |target: &str| OWN.iter().any(|own| target == *own || target.starts_with(&format!("{own}::")));
    Ok(Targets::new().with_targets(OWN.iter().map(|target| (*target, level))).with_targets(
        parsed.iter().filter(|(target, _)| own(target)).map(|(target, level)| (target.to_owned(), level)),
    ))
}

const OWN: [&str; 3] = ["keywheel", "keywheel_core", "keywheel_providers"];

pub(crate) type BoxedLayer = Box<dyn Layer<tracing_subscriber::Registry> + Send + Sync>;

fn text(colour: bool) -> BoxedLayer {
    fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false).boxed()
}

fn json() -> BoxedLayer {
    fmt::layer().json().with_writer(std::io::stderr).flatten_event(true).boxed()
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn no_level_reaches_the_libraries() {
        for wanted in
            ["trace", "hyper=trace,vaultrs=trace,reqwest=debug", "keywheel_core=trace,h2=trace", "info"]
        {
            let filter = filter(wanted).unwrap();
            for library in ["hyper", "vaultrs", "rustify::client", "reqwest", "rustls"] {
                assert!(!filter.would_enable(library, &Level::ERROR), "{wanted} {library}");
            }
            assert!(filter.would_enable("keywheel_core::keeper", &Level::INFO), "{wanted}");
        }
        assert!(filter("loud=very").is_err());
    }
}
