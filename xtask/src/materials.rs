//! What a program is made of, as CycloneDX has it in JSON.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::dist::Program;
use crate::tools::CYCLONEDX;
use crate::{command, workspace};

/// Returns the bill of materials of a program that is built for `host`.
pub(crate) fn list(program: &Program, host: &str) -> Result<String> {
    // The tool writes into the sources: it gets a copy.
    let aside = tempfile::tempdir_in(workspace::target()).context("cannot make a temporary folder")?;
    workspace::copy(&workspace::root(), aside.path())?;
    let mut list = CYCLONEDX.command()?;
    list.args(["--quiet", "--format=json", "--spec-version=1.5", "--no-build-deps", "--target", host]);
    let folder = aside.path().join(program.folder);
    list.args(["--override-filename=bom", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    // With a time to write, it leaves out the time and the random number of this run.
    command::run(list.env("SOURCE_DATE_EPOCH", "0"))?;
    let text = fs::read_to_string(folder.join("bom.json")).context("no bill of materials")?;
    let mut bill: Value =
        serde_json::from_str(&text.replace(&aside.path().display().to_string(), "/keywheel"))
            .context("the bill of materials is no JSON")?;

    // It lists optional dependencies that no enabled feature reaches; `cargo tree` leaves them out.
    let mut tree = workspace::cargo();
    tree.args(["tree", "--locked", "--package", program.package, "--target", host]);
    let tree = command::output(tree.args(["--edges=normal,no-proc-macro", "--prefix=none"]))?;
    let built: BTreeSet<_> =
        tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    let is_built = |component: &Value| {
        let text = |key: &str| component[key].as_str().unwrap_or_default();
        built.contains(&format!("{} v{}", text("name"), text("version")))
    };
    retain(&mut bill["components"], is_built);
    let parts = bill["components"].as_array().into_iter().flatten().chain([&bill["metadata"]["component"]]);
    let kept: BTreeSet<String> =
        parts.filter_map(|part| part["bom-ref"].as_str()).map(str::to_owned).collect();
    let is_kept = |name: &Value| name.as_str().is_some_and(|name| kept.contains(name));
    retain(&mut bill["dependencies"], |dependency| is_kept(&dependency["ref"]));
    for dependency in bill["dependencies"].as_array_mut().into_iter().flatten() {
        if let Some(on) = dependency.get_mut("dependsOn") {
            retain(on, is_kept);
        }
    }
    Ok(format!("{bill:#}\n"))
}

fn retain(list: &mut Value, is_wanted: impl Fn(&Value) -> bool) {
    if let Some(list) = list.as_array_mut() {
        list.retain(is_wanted);
    }
}
