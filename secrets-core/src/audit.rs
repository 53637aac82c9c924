//! The audit: who read, delivered or told of what, at which version, and what came of it. Names and versions, never a value.
//!
//! Each event has the target [`TARGET`], an `event` (`read`, `delivery`, `notify`, `rotation`, `incident`), an `outcome`, and who it was (`by`: HOST/PID). Those of
//! rotations and incidents are of level `INFO`; the others are `DEBUG`, since a log says the same in its own words.

use std::fs;
use std::sync::OnceLock;

use tracing::debug;

use crate::error::{Error, Result};
use crate::reference::SecretRef;
use crate::secret::Version;

/// The target of the events, by which a log's reader tells them from others.
pub const TARGET: &str = "keywheel::audit";

/// Says that a secret's value was read, or that it was not given.
pub(crate) fn read(reference: &SecretRef, result: Result<&Version, &Error>) {
    let secret = reference.whole();
    match result {
        Ok(version) => {
            debug!(target: TARGET, event = "read", %secret, %version, outcome = "done", by = by(), "audit")
        }
        Err(error) => {
            debug!(target: TARGET, event = "read", %secret, outcome = error.kind().as_str(), by = by(), "audit");
        }
    }
}

/// Says that the newest value of a secret was given to a program that asked for it: `by` says which.
pub fn given(reference: &SecretRef, name: &str, version: &Version, by: &str) {
    let secret = reference.whole();
    debug!(target: TARGET, event = "read", %secret, name, %version, outcome = "done", by, "audit");
}

/// Says what became of the files of a delivery: they are there (`done`), or were `rejected`, `rolled back` or `withdrawn`. `secrets` has the versions.
pub(crate) fn delivery(delivery: &str, generation: &str, secrets: &str, outcome: &'static str) {
    debug!(target: TARGET, event = "delivery", delivery, generation, secrets, outcome, by = by(), "audit");
}

/// Says whether the application was told of a generation.
pub(crate) fn notify(delivery: &str, generation: &str, notifier: &str, result: Result<(), &Error>) {
    let outcome = result.map_or_else(|error| error.kind().as_str(), |()| "done");
    debug!(target: TARGET, event = "notify", delivery, generation, notifier, outcome, by = by(), "audit");
}

/// Returns this process for people: its host's name and its number.
pub fn by() -> &'static str {
    static BY: OnceLock<String> = OnceLock::new();
    BY.get_or_init(|| format!("{}/{}", host(), std::process::id()))
}

/// Returns the host's name, for people.
pub fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
