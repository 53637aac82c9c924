//! `cargo xtask features`: every feature of the packages that others take compiles without the others.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{command, workspace};

/// Checks each package without a feature and with each alone, one after the other, in `target/features`; with arguments, those packages (`keywheel-core`) or
/// single features (`keywheel-providers/env`). All of them take an hour the first time.
///
/// # Errors
///
/// Names every one that does not compile; what is wrong with it is on the terminal.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let metadata = command::output(workspace::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let chosen: Vec<Alone> =
        all(&metadata).into_iter().filter(|alone| alone.is_meant_by(arguments)).collect();
    ensure!(!chosen.is_empty(), "there is no such package or feature: {}", arguments.join(", "));
    let failed: Vec<String> =
        chosen.iter().filter(|alone| alone.check().is_err()).map(Alone::to_string).collect();
    ensure!(failed.is_empty(), "does not compile alone: {}", failed.join(", "));
    println!("features: {} compile, each alone", chosen.len());
    Ok(())
}

/// A package with one feature, or none.
struct Alone {
    package: String,
    feature: Option<String>,
}

impl Alone {
    fn is_meant_by(&self, arguments: &[String]) -> bool {
        let meant = |argument: &String| *argument == self.package || *argument == self.to_string();
        arguments.is_empty() || arguments.iter().any(meant)
    }

    fn check(&self) -> Result<()> {
        let mut check = workspace::cargo();
        check.args(["check", "--locked", "--no-default-features", "--package", &self.package]);
        check.args(self.feature.iter().flat_map(|feature| ["--features", feature]));
        command::run(check.env("CARGO_TARGET_DIR", workspace::target().join("features")))
    }
}

impl std::fmt::Display for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.package)?;
        self.feature.iter().try_for_each(|feature| write!(f, "/{feature}"))
    }
}

fn all(metadata: &Value) -> Vec<Alone> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let taken = packages.filter(|package| PACKAGES.iter().any(|name| package["name"] == *name));
    taken
        .flat_map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            let features = package["features"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(feature, _)| Some(feature.clone()));
            std::iter::once(None).chain(features).map(|feature| Alone { package: name.to_owned(), feature })
        })
        .collect()
}

const PACKAGES: [&str; 4] = ["keywheel-core", "keywheel-providers", "keywheel-sidecar", "keywheel-operator"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_feature_is_alone_once_and_can_be_named() {
        let metadata = json!({"packages": [
            {"name": "keywheel-core", "features": {"cron": ["dep:croner"], "yaml": []}},
            {"name": "keywheel-tests", "features": {"other": []}},
        ]});
        let named = |arguments: &[&str]| -> Vec<String> {
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            all(&metadata)
                .iter()
                .filter(|alone| alone.is_meant_by(&arguments))
                .map(Alone::to_string)
                .collect()
        };
        assert_eq!(named(&[]), ["keywheel-core", "keywheel-core/cron", "keywheel-core/yaml"]);
        assert_eq!(named(&["keywheel-core/yaml"]), ["keywheel-core/yaml"]);
        assert_eq!(named(&["keywheel-core"]).len(), 3);
        assert_eq!(named(&["keywheel-tests"]), [""; 0]);
    }
}
