//! `cargo xtask bench`: `keywheel agent` and `bao agent` side by side on one server.

use anyhow::Result;

use crate::real_parts::RealParts;
use crate::{command, packages, workspace};

/// Builds the release program and hands over to the bench of `keywheel-tests`, which measures.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    packages::ensure()?;
    let parts = RealParts::bring()?;
    command::run(workspace::cargo().args(["build", "--release", "--package=keywheel-sidecar"]))?;

    let mut bench = workspace::cargo();
    bench.args(["run", "--quiet", "--package=keywheel-tests", "--bin=bench", "--"]).args(arguments);
    bench.env("KEYWHEEL_BIN", workspace::target().join("release/keywheel"));
    bench.env("KEYWHEEL_BENCH_RESULTS", workspace::target().join("bench"));
    parts.pass_to(&mut bench);
    command::run(&mut bench)
}
