//! `cargo xtask e2e`: the tests that need a cluster, in the one that the environment names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::works;
use crate::dist::{self, PROGRAMS, Program};
use crate::real_parts::RealParts;
use crate::{command, workspace};

/// Runs the tests, or says in one line that there is no cluster; with `root FOLDER`, lays out the image that their pods run: of the programs that the
/// tests are built with, or with `--dist` of those that are passed on.
///
/// # Errors
///
/// A test that fails, or a cluster without that image.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => test(),
        ["root", folder] => root(Path::new(folder), None),
        ["root", folder, "--dist"] => root(Path::new(folder), Some(dist::make(&PROGRAMS, false)?)),
        _ => bail!("usage: cargo xtask e2e [root FOLDER [--dist]]"),
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

/// Lays out an image's folder: the programs, the libraries that they need, and a shell for the applications of the tests.
fn root(folder: &Path, dist: Option<PathBuf>) -> Result<()> {
    let built = match dist {
        Some(built) => built,
        None => build().map(|()| workspace::target().join("debug"))?,
    };
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    for Program { name, .. } in PROGRAMS {
        let program = built.join(name);
        // What is for debuggers would fill the volume that the program is copied to.
        command::run(Command::new("strip").arg("-o").arg(bin.join(name)).arg(&program))?;
        for library in libraries(&program)? {
            let place = folder.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().context("a library without a folder")?)?;
            fs::copy(&library, &place).with_context(|| format!("cannot copy {library}"))?;
        }
    }
    fs::copy("/bin/busybox", bin.join("busybox")).context("no /bin/busybox; install busybox-static")?;
    for name in ["cat", "id", "sh", "sleep", "test"] {
        fs::remove_file(bin.join(name)).ok();
        symlink("busybox", bin.join(name)).with_context(|| format!("cannot make {name}"))?;
    }
    Ok(())
}

/// Returns the files that a program is linked with when it starts; of a static one, none.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let said = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let said = String::from_utf8(said.stdout).context("ldd says what is not text")?;
    Ok(said.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

fn build() -> Result<()> {
    let all = ["build", "--workspace", "--all-features", "--all-targets"];
    command::run(workspace::cargo().args(all))
}

const KUBECONFIG: &str = "KEYWHEEL_TEST_KUBECONFIG";
const IMAGE: &str = "KEYWHEEL_TEST_IMAGE";
