//! `cargo xtask e2e`: the tests that need a cluster, in the one that the environment names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::works;
use crate::real_parts::RealParts;
use crate::{command, workspace};

/// Runs the tests, or says in one line that there is no cluster; with `root FOLDER`, lays out the image that their pods run.
///
/// # Errors
///
/// A test that fails, or a cluster without that image.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => test(),
        ["root", folder] => root(Path::new(folder)),
        _ => bail!("usage: cargo xtask e2e [root FOLDER]"),
    }
}

fn test() -> Result<()> {
    let Some(kubeconfig) = [KUBECONFIG, "KUBECONFIG"].into_iter().find_map(std::env::var_os) else {
        println!("e2e: skipped, since neither {KUBECONFIG} nor KUBECONFIG names a cluster");
        return Ok(());
    };
    ensure!(
        std::env::var_os(IMAGE).is_some(),
        "{IMAGE} names no image; make one of the folder that `cargo xtask e2e root FOLDER` lays out"
    );
    let parts = RealParts::bring()?;
    build()?;
    let mut tests = workspace::cargo();
    let clustered = ["--test=cluster", "--test=kubernetes_rollouts", "--test=kubernetes_tokens"];
    let chosen = ["--workspace", "--all-features"].into_iter().chain(clustered);
    if works("cargo", &["nextest", "--version"]) {
        tests.args(["nextest", "run", "--config-file=tests/nextest.toml", "--run-ignored=only"]).args(chosen);
    } else {
        tests.arg("test").args(chosen).args(["--", "--ignored"]);
    }
    parts.pass_to(&mut tests);
    command::run(tests.env(KUBECONFIG, kubeconfig))
}

/// Lays out an image's folder: the program, the libraries that it needs, and a shell for the applications of the tests.
fn root(folder: &Path) -> Result<()> {
    build()?;
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let program = workspace::target().join("debug/keywheel");
    // What is for debuggers would fill the volume that the program is copied to.
    command::run(Command::new("strip").arg("-o").arg(bin.join("keywheel")).arg(&program))?;
    let libraries = command::output(Command::new("ldd").arg(&program))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = folder.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().context("a library without a folder")?)?;
        fs::copy(library, &place).with_context(|| format!("cannot copy {library}"))?;
    }
    fs::copy("/bin/busybox", bin.join("busybox")).context("no /bin/busybox; install busybox-static")?;
    for name in ["cat", "id", "sh", "sleep", "test"] {
        fs::remove_file(bin.join(name)).ok();
        symlink("busybox", bin.join(name)).with_context(|| format!("cannot make {name}"))?;
    }
    Ok(())
}

fn build() -> Result<()> {
    let all = ["build", "--workspace", "--all-features", "--all-targets"];
    command::run(workspace::cargo().args(all))
}

const KUBECONFIG: &str = "KEYWHEEL_TEST_KUBECONFIG";
const IMAGE: &str = "KEYWHEEL_TEST_IMAGE";
