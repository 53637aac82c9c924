//! What a delivery would change: names, modes and versions, never values.

use std::fmt;

use crate::deliver::Change;
use crate::payload::Mode;
use crate::secret::Version;

/// One file that a delivery would change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Planned {
    /// What would happen to it.
    pub change: Change,
    /// The permissions that it would have; none when it goes.
    pub mode: Option<Mode>,
    /// The secrets that it would be made of, by name, each at its version.
    pub secrets: Vec<(String, Version)>,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.fmt(f)?;
        if let Some(mode) = self.mode {
            write!(f, " {mode}")?;
        }
        let versions: Vec<String> =
            self.secrets.iter().map(|(name, version)| format!("{name}@{version}")).collect();
        match versions.is_empty() {
            true => Ok(()),
            false => write!(f, " of {}", versions.join(" ")),
        }
    }
}
