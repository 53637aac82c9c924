//! `cargo xtask bench`: `keywheel agent` and `bao agent` side by side on one server.

use anyhow::Result;

use crate::real_parts::RealParts;
use crate::{command, dist, packages, workspace};

/// Builds the program as it is passed on, unless `KEYWHEEL_BIN` names one, and hands over to the bench of `keywheel-tests`, which measures.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    packages::ensure()?;
    let parts = RealParts::bring()?;
    let program: std::path::PathBuf = match std::env::var_os("KEYWHEEL_BIN") {
        Some(program) => program.into(),
        None => dist::keywheel()?,
    };
    let mut bench = workspace::cargo();
    bench.args(["run", "--quiet", "--package=keywheel-tests", "--bin=bench", "--"]).args(arguments);
    bench.env("KEYWHEEL_BIN", program);
    bench.env("KEYWHEEL_BENCH_RESULTS", workspace::target().join("bench"));
    parts.pass_to(&mut bench);
    command::run(&mut bench)
}
