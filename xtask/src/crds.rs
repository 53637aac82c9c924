//! `cargo xtask crds`: writes the definitions of the cluster's resources to where they are installed from.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, workspace};

/// Asks `keywheel-operator` for the definitions, and writes them for Kustomize and for Helm.
///
/// # Errors
///
/// The program cannot be built, or a file not be written.
pub(crate) fn run() -> Result<()> {
    // With the features of all other builds, so that nothing is compiled twice.
    let build = ["build", "--workspace", "--all-features", "--bin=keywheel-operator"];
    command::run(workspace::cargo().args(build))?;
    let program = workspace::target().join("debug/keywheel-operator");
    let definitions = command::output(Command::new(program).arg("crds"))?;
    for folder in FOLDERS {
        let folder = workspace::root().join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join("rotationschedules.yaml");
        fs::write(&file, &definitions).with_context(|| format!("cannot write {}", file.display()))?;
        println!("crds: {}", file.display());
    }
    Ok(())
}

const FOLDERS: [&str; 2] = ["deploy/base/crds", "deploy/helm/keywheel-operator/crds"];
