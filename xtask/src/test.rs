//! `cargo xtask test`: every test of the workspace, with everything that they need.

use anyhow::Result;

use crate::command::works;
use crate::real_parts::RealParts;
use crate::{command, packages, workspace};

/// Brings the real parts, builds the programs and runs the tests; `arguments` go to the test runner.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    packages::ensure()?;
    let parts = RealParts::bring()?;

    // The tests start these programs; built with the tests' own features, so that nothing is compiled twice.
    command::run(workspace::cargo().arg("build").args(EVERYTHING).arg("--all-targets"))?;

    let mut tests = workspace::cargo();
    if works("cargo", &["nextest", "--version"]) {
        tests.args(["nextest", "run", "--config-file=tests/nextest.toml"]).args(EVERYTHING);
    } else {
        tests.arg("test").args(EVERYTHING).args(["--lib", "--bins", "--tests", "--examples"]);
    }
    parts.pass_to(&mut tests);
    command::run(tests.args(arguments))?;

    if arguments.is_empty() {
        command::run(workspace::cargo().args(["test", "--doc"]).args(EVERYTHING))?;
    }
    Ok(())
}

const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];
