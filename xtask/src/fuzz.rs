//! `cargo xtask fuzz`: builds the fuzz targets with the stable compiler and lets each look for trouble for a while.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::{num::NonZero, thread};

use anyhow::{Context as _, Result, bail, ensure};

use crate::dist::host;
use crate::{command, workspace};

/// Runs the named targets, or all; `--seconds N` says for how long each, and `--keep` adds what was found on the way to the corpus in the repository.
///
/// # Errors
///
/// A target that fails: the input is in `target/fuzz/artifacts`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut seconds, mut keep, mut names) = (20, false, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                seconds = number.context("--seconds takes a number")?;
            }
            "--keep" => keep = true,
            option if option.starts_with('-') => {
                bail!("usage: cargo xtask fuzz [--seconds N] [--keep] [TARGET…]")
            }
            name => names.push(name.to_owned()),
        }
    }
    let known = targets()?;
    for name in &names {
        ensure!(known.contains(name), "there is no target {name}; known: {}", known.join(", "));
    }
    let names = if names.is_empty() { known } else { names };
    let built = build(&names)?;

    let failed = Mutex::new(Vec::new());
    let left = Mutex::new(names.iter());
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(name) = next(&left) {
                    let target = Target { name, program: built.join(name) };
                    if let Err(error) =
                        target.run(seconds).and_then(|()| if keep { target.keep() } else { Ok(()) })
                    {
                        eprintln!("{name}: {error:#}");
                        failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(name.clone());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn next<'a>(left: &Mutex<impl Iterator<Item = &'a String>>) -> Option<&'a String> {
    left.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next()
}

fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<_> =
        files.flatten().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Builds the targets and returns the folder that they are in.
fn build(names: &[String]) -> Result<PathBuf> {
    let (folder, host) = (workspace::target().join("fuzz"), host()?);
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--locked", "--manifest-path=fuzz/Cargo.toml"]);
    // For a named target, the flags are not those of what is run to build it.
    build.args(["--target", &host]).args(names.iter().flat_map(|name| ["--bin", name]));
    build.env("CARGO_TARGET_DIR", &folder).env("CARGO_ENCODED_RUSTFLAGS", COUNTED.join("\x1f"));
    command::run(&mut build)?;
    Ok(folder.join(host).join("release"))
}

struct Target<'a> {
    name: &'a str,
    program: PathBuf,
}

impl Target<'_> {
    /// Tries inputs; those that reach something new are kept in `target/fuzz/corpus`.
    fn run(&self, seconds: u32) -> Result<()> {
        let folder = workspace::target().join("fuzz");
        let (corpus, artifacts) =
            (folder.join("corpus").join(self.name), folder.join("artifacts").join(self.name));
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let log = folder.join(format!("{}.log", self.name));
        let output = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command.args(BOUNDS).arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.arg(&corpus).arg(self.seeds()).current_dir(workspace::root().join("fuzz"));
        let status = command.stdout(output.try_clone()?).stderr(output).status().context("cannot start")?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        if !status.success() {
            let tail: Vec<_> = said.lines().rev().take(40).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            bail!("{status}\n{}\nall of it: {}", tail.join("\n"), log.display());
        }
        let last = |mark: &str| said.lines().rev().find(|line| line.contains(mark)).unwrap_or_default();
        let reached = last(" cov: ").split(" cov: ").nth(1).and_then(|rest| rest.split(' ').next());
        println!("{}: {}, {} places reached", self.name, last("Done "), reached.unwrap_or("no"));
        Ok(())
    }

    /// Adds to the repository's corpus what reaches something that it does not, as long as it is short.
    fn keep(&self) -> Result<()> {
        let found = workspace::target().join("fuzz/corpus").join(self.name);
        let mut merge = Command::new(&self.program);
        merge.args(["-merge=1", "-max_len=256"]).arg(self.seeds()).arg(found);
        command::output(&mut merge).map(drop)
    }

    fn seeds(&self) -> PathBuf {
        workspace::root().join("fuzz/corpus").join(self.name)
    }
}

/// What counts the places that an input reaches, as `cargo fuzz` has it, and needs no other compiler.
const COUNTED: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// No input may take longer, or more memory.
const BOUNDS: [&str; 5] =
    ["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256", "-max_len=4096", "-print_final_stats=0"];
