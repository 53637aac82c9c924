//! `cargo xtask dist`: the program as it is passed on. It needs no file of its host's, says what it was built from, and is the same
//! wherever it is built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::tools::AUDITABLE;
use crate::{command, materials, workspace};

/// Builds the program and its bill of materials into `target/dist`; with `--verify`, also from a copy in another folder, which has to
/// yield the same bytes.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let verify = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--verify"] => true,
        _ => bail!("usage: cargo xtask dist [--verify]"),
    };
    let folder = make(verify)?;
    println!("{}", fs::read_to_string(folder.join(SUMS))?.trim_end());
    Ok(())
}

/// Makes all that is passed on, and returns the folder that has it.
pub(crate) fn make(verify: bool) -> Result<PathBuf> {
    let (root, target) = (workspace::root(), workspace::target());
    let host = host()?;
    let program = Build { root: &root, target: &target.join("static") }.run(&host)?;
    let digest = digest(&fs::read(&program)?);
    if verify {
        let elsewhere = tempfile::tempdir_in(&target).context("cannot make a temporary folder")?;
        let copy = elsewhere.path().join("copy");
        workspace::copy(&root, &copy)?;
        let again = Build { root: &copy, target: &elsewhere.path().join("target") }.run(&host)?;
        let other = self::digest(&fs::read(&again)?);
        ensure!(digest == other, "built in two folders, the program is two programs: {digest} and {other}");
        eprintln!("     The same bytes in two folders: {digest}");
    }

    let folder = target.join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(&program, folder.join(PROGRAM)).context("cannot copy the program")?;
    let materials = materials::list(&host)?;
    fs::write(folder.join(MATERIALS), &materials).context("cannot write the bill of materials")?;
    let sums = format!("{digest}  {PROGRAM}\n{}  {MATERIALS}\n", self::digest(materials.as_bytes()));
    fs::write(folder.join(SUMS), sums).context("cannot write the checksums")?;
    Ok(folder)
}

/// A build from one folder into another.
struct Build<'a> {
    root: &'a Path,
    target: &'a Path,
}

impl Build<'_> {
    /// Builds for `host` and returns the program's path.
    ///
    /// # Errors
    ///
    /// The build fails, or the program has a path of this machine in it, or no list of what it was built from.
    fn run(&self, host: &str) -> Result<PathBuf> {
        // Where the crates are is known once they are there.
        command::run(workspace::cargo().args(["fetch", "--locked", "--target", host]))?;
        let places = self.places()?;
        let mut rust_flags: Vec<OsString> = vec!["-Ctarget-feature=+crt-static".into()];
        let mut c_flags = std::env::var("CFLAGS").unwrap_or_default();
        for (place, name) in &places {
            let place = place.to_str().context("a path that is not text")?;
            rust_flags.push(format!("--remap-path-prefix={place}={name}").into());
            c_flags.push_str(&format!(" -ffile-prefix-map={place}={name}"));
        }
        let mut build = AUDITABLE.command()?;
        build.current_dir(self.root).env("CARGO_TARGET_DIR", self.target).env("CFLAGS", c_flags.trim_start());
        build.env("CARGO_ENCODED_RUSTFLAGS", rust_flags.join(&OsString::from("\x1f")));
        // For a named target, the flags are those of the program alone, and not of what is run to build it.
        build.args(["build", "--release", "--locked", "--package=keywheel-sidecar", "--target", host]);
        command::run(&mut build)?;

        let program = self.target.join(host).join("release").join(PROGRAM);
        let bytes = fs::read(&program).with_context(|| format!("no {}", program.display()))?;
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        for place in places.keys() {
            ensure!(!holds(place.as_os_str().as_encoded_bytes()), "the program holds {}", place.display());
        }
        ensure!(holds(LISTED.as_bytes()), "the program does not say what it was built from");
        Ok(program)
    }

    /// Returns the folders whose paths compilers write into a program, each with the name that takes its place.
    fn places(&self) -> Result<BTreeMap<PathBuf, &'static str>> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no CARGO_HOME")?;
        let mut places =
            BTreeMap::from([(self.root.to_owned(), "/keywheel"), (self.target.to_owned(), "/target")]);
        // A folder for each registry, or for what stands in for it.
        for registry in fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten() {
            places.insert(registry.path(), "/crates");
        }
        Ok(places)
    }
}

/// Returns the name of the platform that this is.
pub(crate) fn host() -> Result<String> {
    let said = command::output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The program's name there.
pub(crate) const PROGRAM: &str = "keywheel";
const MATERIALS: &str = "keywheel.cdx.json";
const SUMS: &str = "SHA256SUMS";
/// The section that scanners look for.
const LISTED: &str = ".dep-v0";
