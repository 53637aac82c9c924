//! `cargo xtask test`: every test of the workspace, with everything that they need. `cargo xtask soak`: the long ones, at their full length.

use anyhow::Result;

use crate::command::works;
use crate::real_parts::RealParts;
use crate::{command, dist, packages, workspace};

/// Brings the real parts, builds the programs, twice the one that is passed on, and runs the tests that last long, each as long as it should; `arguments` go to the test runner.
pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    let parts = prepare()?;
    let program = dist::make(&dist::PROGRAMS, true)?.join(dist::PROGRAMS[0].name);
    let mut tests = workspace::cargo();
    tests.args(["nextest", "run", "--config-file=tests/nextest.toml", "--profile=soak"]);
    tests.args(EVERYTHING).env("KEYWHEEL_SOAK", "1").env("KEYWHEEL_STATIC", program);
    parts.pass_to(&mut tests);
    command::run(tests.args(arguments))
}

/// Brings the real parts, builds the programs and runs the tests; `arguments` go to the test runner.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let parts = prepare()?;

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

fn prepare() -> Result<RealParts> {
    packages::ensure()?;
    let parts = RealParts::bring()?;

    // The tests start these programs; built with the tests' own features, so that nothing is compiled twice.
    command::run(workspace::cargo().arg("build").args(EVERYTHING).arg("--all-targets"))?;
    Ok(parts)
}

const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];
