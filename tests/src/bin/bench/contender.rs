//! The programs that are compared.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use keywheel_tests::built;

use crate::configuration;
use crate::job::Job;

/// A program that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Keywheel,
    BaoAgent,
}

impl Contender {
    /// Returns the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keywheel => "keywheel",
            Self::BaoAgent => "bao-agent",
        }
    }

    /// Returns the program's path.
    pub(crate) fn program(self) -> PathBuf {
        match self {
            Self::Keywheel => built::program("keywheel"),
            Self::BaoAgent => built::bao(),
        }
    }

    /// Writes the configuration and returns the command that does `job`.
    pub(crate) fn command(self, job: &Job<'_>) -> Command {
        let (file, configuration) = match self {
            Self::Keywheel => ("keywheel.yaml", configuration::keywheel(job)),
            Self::BaoAgent => ("agent.hcl", configuration::bao_agent(job)),
        };
        let path = job.folder.join(file);
        std::fs::write(&path, configuration).expect("a configuration file");
        let mut command = Command::new(self.program());
        command.env_clear().env("HOME", job.folder).arg("agent");
        match self {
            Self::Keywheel => command.arg("--config").arg(path),
            Self::BaoAgent => command.arg(format!("-config={}", path.display())).arg("-log-level=warn"),
        };
        command
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
