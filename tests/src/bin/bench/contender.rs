//! The programs that are compared, each in its quickest fair configuration.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use keywheel_tests::{OpenBao, built};

/// A program that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Keywheel,
    BaoAgent,
}

/// What a program is to deliver, and where it finds what it needs for that.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) server: &'a OpenBao,
    pub(crate) token_file: &'a Path,
    /// Empty and memory-backed.
    pub(crate) volume: &'a Path,
    /// For the configuration.
    pub(crate) folder: &'a Path,
    pub(crate) secrets: usize,
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
            Self::Keywheel => ("keywheel.yaml", keywheel(job)),
            Self::BaoAgent => ("agent.hcl", bao_agent(job)),
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

impl Job<'_> {
    /// Returns the files that are there when the job is done.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.secrets).map(|index| self.volume.join(format!("secret-{index}")))
    }
}

fn keywheel(job: &Job<'_>) -> String {
    let mut text = format!(
        "providers:
  vault:
    kind: vault
    address: {address}
    ca_file: {ca}
    auth: {{method: token, token_file: {token}}}
deliveries:
  - name: bench
    directory: {volume}
",
        address = job.server.address(),
        ca = job.server.ca_file().display(),
        token = job.token_file.display(),
        volume = job.volume.display(),
    );
    text.push_str("    secrets:\n");
    for index in 0..job.secrets {
        writeln!(text, "      s{index}: vault://secret/bench/{index}").expect("room");
    }
    text.push_str("    files:\n");
    for index in 0..job.secrets {
        writeln!(
            text,
            "      - {{path: secret-{index}, value: \"{{{{ s{index}.value }}}}\", mode: \"0440\"}}"
        )
        .expect("room");
    }
    text
}

/// One template per secret, because each is a file of its own. More connections than its 10 (`max_connections_per_host`)
/// and a quiet time before rendering (`wait`) were tried with 1,000 secrets and made no clear difference.
fn bao_agent(job: &Job<'_>) -> String {
    let mut text = format!(
        r#"
vault {{
  address = "{address}"
  ca_cert = "{ca}"
}}
auto_auth {{
  method "token_file" {{
    config = {{ token_file_path = "{token}" }}
  }}
}}
template_config {{
  static_secret_render_interval = "30s"
}}
"#,
        address = job.server.address(),
        ca = job.server.ca_file().display(),
        token = job.token_file.display(),
    );
    for (index, file) in job.files().enumerate() {
        let template = format!(
            r#"{{{{ with secret \"secret/data/bench/{index}\" }}}}{{{{ .Data.data.value }}}}{{{{ end }}}}"#
        );
        writeln!(
            text,
            "template {{\n  contents = \"{template}\"\n  destination = \"{}\"\n  perms = \"0440\"\n}}",
            file.display()
        )
        .expect("room");
    }
    text
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
