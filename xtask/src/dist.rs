//! `cargo xtask dist`: the programs as they are passed on. They need no file of their host's, say what they were built from, and are the same
//! wherever they are built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::tools::AUDITABLE;
use crate::{command, materials, order, workspace};

/// Builds the programs and their bills of materials into `target/dist`, or one of them; with `--verify`, also from a copy in another folder, which
/// has to yield the same bytes.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut names: Vec<_> = arguments.iter().map(String::as_str).collect();
    let verify = names.first() == Some(&"--verify");
    names.drain(..usize::from(verify));
    let programs = match names[..] {
        [] => Some(&PROGRAMS[..]),
        [name] => PROGRAMS.iter().position(|program| program.name == name).map(|at| &PROGRAMS[at..=at]),
        _ => None,
    };
    let programs = programs.context("usage: cargo xtask dist [--verify] [keywheel|keywheel-operator]")?;
    let folder = make(programs, verify)?;
    println!("{}", fs::read_to_string(folder.join(SUMS))?.trim_end());
    Ok(())
}

/// Makes all that is passed on of `programs`, and returns the folder that has it.
pub(crate) fn make(programs: &[Program], verify: bool) -> Result<PathBuf> {
    let (root, target) = (workspace::root(), workspace::target());
    let host = host()?;
    let folder = target.join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = Build { root: &root, target: &target.join("static") }.run(programs, &host)?;
    if verify {
        let elsewhere = tempfile::tempdir_in(&target).context("cannot make a temporary folder")?;
        let copy = elsewhere.path().join("copy");
        workspace::copy(&root, &copy)?;
        let again = Build { root: &copy, target: &elsewhere.path().join("target") }.run(programs, &host)?;
        for (one, other) in built.iter().zip(&again) {
            let (digest, other) = (digest(&fs::read(one)?), digest(&fs::read(other)?));
            ensure!(
                digest == other,
                "built in two folders, {} is two programs: {digest} and {other}",
                one.display()
            );
            eprintln!("     The same bytes in two folders: {digest}");
        }
    }

    for (program, path) in programs.iter().zip(&built) {
        let to = folder.join(program.name);
        fs::copy(path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
        fs::write(folder.join(program.bill()), materials::list(program, &host)?)
            .context("cannot write the bill of materials")?;
    }
    let mut sums = String::new();
    for name in PROGRAMS.iter().flat_map(|program| [program.name.to_owned(), program.bill()]) {
        // Another program may be there from another time.
        if let Ok(bytes) = fs::read(folder.join(&name)) {
            sums.push_str(&format!("{}  {name}\n", digest(&bytes)));
        }
    }
    fs::write(folder.join(SUMS), sums).context("cannot write the checksums")?;
    Ok(folder)
}

/// Builds the program `keywheel` as it is passed on, and returns its path.
pub(crate) fn keywheel() -> Result<PathBuf> {
    let target = workspace::target().join("static");
    let build = Build { root: &workspace::root(), target: &target };
    build.run(&PROGRAMS[..1], &host()?)?.pop().context("one program is built")
}

/// A program that is passed on.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: &'static str,
    /// The package that it is in.
    pub(crate) package: &'static str,
    /// That package's folder.
    pub(crate) folder: &'static str,
}

impl Program {
    /// Returns the name of its bill of materials.
    fn bill(&self) -> String {
        format!("{}.cdx.json", self.name)
    }
}

/// A build from one folder into another.
struct Build<'a> {
    root: &'a Path,
    target: &'a Path,
}

impl Build<'_> {
    /// Builds `programs` for `host` and returns their paths.
    ///
    /// # Errors
    ///
    /// A build fails, or a program has a path of this machine in it, or no list of what it was built from.
    fn run(&self, programs: &[Program], host: &str) -> Result<Vec<PathBuf>> {
        let build = |program| {
            self.forget(program, host)?;
            command::run(&mut self.command(program, host)?)?;
            let path = self.program(program, host);
            check(&path, self.places()?.keys()).map(|()| path)
        };
        programs.iter().map(build).collect()
    }

    /// Returns where a program is.
    fn program(&self, program: &Program, host: &str) -> PathBuf {
        self.target.join(host).join("release").join(program.name)
    }

    /// Has a program linked again that is older than the order of its functions, of which cargo knows nothing.
    fn forget(&self, program: &Program, host: &str) -> Result<()> {
        let order = fs::metadata(self.root.join(order::ORDER)).and_then(|order| order.modified())?;
        let linked = self.target.join(host).join("release/deps");
        for file in fs::read_dir(linked).into_iter().flatten().flatten() {
            let is_of_it = file.file_name().to_string_lossy().starts_with(&format!("{}-", program.name));
            if is_of_it && file.metadata()?.modified()? < order {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Returns what builds a program.
    fn command(&self, program: &Program, host: &str) -> Result<Command> {
        // Where the crates are is known once they are there.
        command::run(workspace::cargo().args(["fetch", "--locked", "--target", host]))?;
        let mut rust_flags: Vec<OsString> = FLAGS.iter().map(Into::into).collect();
        let mut c_flags = std::env::var("CFLAGS").unwrap_or_default();
        for (place, name) in &self.places()? {
            let place = place.to_str().context("a path that is not text")?;
            rust_flags.push(format!("--remap-path-prefix={place}={name}").into());
            c_flags.push_str(&format!(" -ffile-prefix-map={place}={name}"));
        }
        let mut build = AUDITABLE.command()?;
        build
            .current_dir(self.root)
            .env("CARGO_TARGET_DIR", self.target)
            .env("CFLAGS", c_flags.trim_start())
            .env("CARGO_ENCODED_RUSTFLAGS", rust_flags.join(&OsString::from("\x1f")));
        let linker = format!("CARGO_TARGET_{}_LINKER", host.to_uppercase().replace('-', "_"));
        build.env(linker, std::env::current_exe()?).env(order::LINKS, self.root.join(order::ORDER));
        // For a named target, the flags are those of the program alone, and not of what is run to build it.
        build.args(["build", "--release", "--locked", "--target", host, "--package", program.package]);
        Ok(build)
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

/// Looks through a program for what it must not hold, and for what it must.
fn check<'a>(program: &Path, mut places: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("no {}", program.display()))?;
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if let Some(place) = places.find(|place| holds(place.as_os_str().as_encoded_bytes())) {
        bail!("{} holds {}", program.display(), place.display());
    }
    ensure!(holds(LISTED.as_bytes()), "{} does not say what it was built from", program.display());
    Ok(())
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

/// The programs.
pub(crate) const PROGRAMS: [Program; 2] = [
    Program { name: "keywheel", package: "keywheel-sidecar", folder: "sidecar" },
    Program { name: "keywheel-operator", package: "keywheel-operator", folder: "operator" },
];
/// No library of the host's; relocations in a bit each, in place of 24 bytes; and names by which the order of functions knows them again.
const FLAGS: [&str; 3] = [
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=-Wl,-z,pack-relative-relocs",
    "-Csymbol-mangling-version=v0",
];
const SUMS: &str = "SHA256SUMS";
/// The section that scanners look for.
const LISTED: &str = ".dep-v0";
