//! `cargo xtask deps`: the arrows between the packages, one HTTP and TLS stack below them, and a core that is small without its features.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{command, workspace};

/// Checks the packages' dependencies and prints what was checked.
///
/// # Errors
///
/// Every finding at once.
pub(crate) fn run() -> Result<()> {
    let metadata = command::output(workspace::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    // `cargo metadata` lists optional dependencies that no enabled feature reaches; `cargo tree` leaves them out.
    let tree = |arguments: &[&str]| {
        command::output(workspace::cargo().args(["tree", "--prefix=none"]).args(arguments))
    };
    let whole = tree(&["--workspace", "--all-features", "--edges=normal"])?;
    // With what builds it and its macros: that is compiled as well.
    let core =
        crates(&tree(&["--package=keywheel-core", "--no-default-features", "--edges=normal,build"])?).len();

    let mut findings = arrows(&metadata);
    findings.extend(stack(&whole));
    if core >= CORE_BELOW {
        findings.push(format!(
            "keywheel-core alone compiles {core} crates; fewer than {CORE_BELOW} are promised"
        ));
    }
    if findings.is_empty() {
        println!(
            "deps: sidecar -> providers -> core ({core} crates alone); one each of {}; none of {}",
            ONCE.join(", "),
            NEVER.join(", ")
        );
        return Ok(());
    }
    bail!("{}", findings.join("\n"));
}

/// Finds dependencies between the workspace's packages that do not point inwards. Those of tests alone are free.
fn arrows(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let Some(from) = layer(name) else {
            findings.push(format!("{name} has no layer: add it in xtask/src/deps.rs"));
            continue;
        };
        for dependency in list(&package["dependencies"]).filter(|dependency| dependency["kind"] != "dev") {
            let to = text(&dependency["name"]);
            if layer(to).is_some_and(|layer| layer >= from) {
                findings.push(format!("{name} depends on {to}: arrows point from the programs to the core"));
            }
        }
    }
    findings
}

/// Finds crates that the tree has twice or must not have, in lines as `name v1.2.3 (…)`.
fn stack(tree: &str) -> Vec<String> {
    let crates = crates(tree);
    let versions = |name: &str| crates.iter().filter(|(found, _)| *found == name).count();
    let twice = ONCE
        .iter()
        .filter(|name| versions(name) > 1)
        .map(|name| format!("the tree has {name} more than once"));
    let banned = NEVER.iter().filter(|name| versions(name) > 0).map(|name| format!("the tree has {name}"));
    twice.chain(banned).collect()
}

/// Returns the crates of a tree, each once, by name and version.
fn crates(tree: &str) -> BTreeSet<(&str, &str)> {
    tree.lines().filter_map(|line| line.split_once(' ')).map(name_and_version).collect()
}

fn name_and_version<'a>((name, rest): (&'a str, &'a str)) -> (&'a str, &'a str) {
    (name, rest.split_once(' ').map_or(rest, |(version, _)| version))
}

/// Returns how far a package stands from the core; dependencies go to a lower layer.
fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&package))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const LAYERS: [&[&str]; 4] = [
    &["keywheel-core"],
    &["keywheel-providers"],
    &["keywheel-sidecar", "keywheel-operator", "keywheel-examples"],
    &["keywheel-tests", "xtask"],
];
const ONCE: [&str; 4] = ["rustls", "hyper", "reqwest", "aws-lc-rs"];
const CORE_BELOW: usize = 60;
const NEVER: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_arrow_to_the_outside_is_found() {
        let depends = |from: &str, to: &str, kind: Value| {
            arrows(&json!({"packages": [{"name": from, "dependencies": [{"name": to, "kind": kind}]}]}))
        };
        assert_eq!(depends("keywheel-providers", "keywheel-core", Value::Null), [""; 0]);
        assert_eq!(depends("keywheel-core", "keywheel-tests", json!("dev")), [""; 0]);
        assert_eq!(depends("keywheel-core", "keywheel-providers", Value::Null).len(), 1);
        assert_eq!(depends("keywheel-sidecar", "keywheel-operator", json!("build")).len(), 1);
        assert_eq!(depends("keywheel-new", "serde", Value::Null).len(), 1);
    }

    #[test]
    fn a_second_stack_is_found() {
        let good = "keywheel-core v0.1.0 (/src)\nrustls v0.23.46\nrustls v0.23.46 (*)\n\nhyper v1.12.0";
        assert_eq!(stack(good), [""; 0]);
        assert_eq!(stack("rustls v0.23.46\nrustls v0.22.4"), ["the tree has rustls more than once"]);
        assert_eq!(stack("ring v0.17.14"), ["the tree has ring"]);
    }
}
