//! `cargo xtask order`: the order in which a static program's functions lie.
//!
//! A page of the program is in memory as soon as one of its functions is called. Those that an agent at rest calls lie side by side, before those of its start and
//! those that are called rarely or never.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::real_parts::RealParts;
use crate::{command, dist, packages, workspace};

/// Has the functions that `keywheel agent` calls listed again. It takes valgrind.
///
/// # Errors
///
/// Something is missing, or the agent does not do what it should.
pub(crate) fn run() -> Result<()> {
    packages::ensure()?;
    let parts = RealParts::bring()?;
    let program = dist::keywheel()?.with_extension(SYMBOLS);
    let mut listing = workspace::cargo();
    listing.args(["run", "--quiet", "--package=keywheel-tests", "--bin=order", "--"]).arg(program);
    parts.pass_to(&mut listing);
    let called = command::output(&mut listing)?;
    let (mut order, mut seen) = (String::new(), HashSet::new());
    for mark in called.lines().map(mark) {
        if seen.insert(mark.clone()) {
            order.push_str(&mark);
            order.push('\n');
        }
    }
    std::fs::write(workspace::root().join(ORDER), order).context("cannot write the order")
}

/// Links a program in the place of `cc`, whose arguments these are, with its functions in the order that `order` has; and beside it the same one with its symbols.
///
/// # Errors
///
/// `cc`, or `nm`, does not do it.
pub(crate) fn link(order: &Path, arguments: &[OsString]) -> Result<()> {
    // Another linker has no such option. What is not static is run to build the program.
    if !["-static-pie", "-fuse-ld=lld"].iter().all(|needed| arguments.iter().any(|given| given == needed)) {
        return cc(arguments);
    }
    let listed = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    write(order, &symbols(arguments)?, listed.as_file())?;
    let mut arguments = arguments.to_vec();
    arguments.push(format!("-Wl,--symbol-ordering-file={}", listed.path().display()).into());
    arguments.push("-Wl,--no-warn-symbol-ordering".into());
    cc(&arguments)?;
    arguments.retain(|argument| argument != "-Wl,--strip-all");
    let to =
        arguments.iter().position(|argument| argument == "-o").context("the linker is told no name")? + 1;
    arguments[to] = beside(Path::new(&arguments[to])).into();
    cc(&arguments)
}

/// Returns where the program with its symbols is: beside the name without a hash that cargo gives `program`.
fn beside(program: &Path) -> PathBuf {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    let folder = program.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    folder.join(name).with_extension(SYMBOLS)
}

fn cc(arguments: &[OsString]) -> Result<()> {
    match Command::new("cc").args(arguments).status().context("cannot start cc")?.success() {
        true => Ok(()),
        false => bail!("cc could not link"),
    }
}

/// Returns what `nm` says of all that is linked.
fn symbols(arguments: &[OsString]) -> Result<String> {
    let objects = arguments.iter().filter(|given| {
        let extension = Path::new(given).extension().and_then(OsStr::to_str);
        matches!(extension, Some("o" | "rlib"))
    });
    // The C library is named by `-lc`.
    let library = command::output(Command::new("cc").arg("-print-file-name=libc.a"))?;
    let mut nm = Command::new("nm");
    nm.args(["--quiet", "--defined-only", "--format=posix"]).args(objects).arg(library.trim_end());
    command::output(&mut nm)
}

/// Writes those of `symbols` that are in the order `order`, by it.
fn write(order: &Path, symbols: &str, mut to: impl std::io::Write) -> Result<()> {
    let order = std::fs::read_to_string(order).with_context(|| format!("cannot read {}", order.display()))?;
    let places: HashMap<&str, usize> = order.lines().enumerate().map(|(place, mark)| (mark, place)).collect();
    let mut found: Vec<(usize, &str)> = symbols
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter_map(|name| Some((*places.get(mark(name).as_str())?, name)))
        .collect();
    found.sort_unstable();
    for (_, name) in found {
        writeln!(to, "{name}").context("cannot write the order")?;
    }
    Ok(())
}

/// Returns what a function is known by in the order, whatever compiler and version of its crate it is of.
fn mark(name: &str) -> String {
    let digest = Sha256::digest(plain(name));
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Takes out of a name what another version of its crate, of the compiler or of the program changes: the hash of a crate (`Cs…_`), references back to places in the
/// name (`B…_`), and the number of a copy.
fn plain(name: &str) -> String {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.rsplit_once('.').filter(|(_, number)| is_number(number)).map_or(name, |(name, _)| name);
    let mut rest = name.trim_end_matches(".llvm");
    let mut plain = String::new();
    while let Some(at) = rest.find(['B', 'C']) {
        let (before, after) = rest.split_at(at + 1);
        plain.push_str(before);
        let longest = if before.ends_with('B') { 3 } else { 12 * usize::from(after.starts_with('s')) };
        let end = after.find(|c: char| !c.is_ascii_alphanumeric());
        let end = end.filter(|end| *end <= longest && after[*end..].starts_with('_'));
        rest = end.map_or(after, |end| &after[end + 1..]);
    }
    plain + rest
}

/// The order, below the workspace's root.
pub(crate) const ORDER: &str = "sidecar/order.txt";
/// The extension of a program with its symbols.
const SYMBOLS: &str = "symbols";
/// What has this program link: the path of the order.
pub(crate) const LINKS: &str = "KEYWHEEL_LINK_ORDER";

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_function_is_known_whatever_its_crate_is_called_by_the_compiler() {
        let one = "_RNvXsZ_NtCslNYArtu3iFV_5alloc6stringNtB5_6StringNtNtCsgEmfK2I1SDS_4core3fmt5Write9write_str.169";
        let other = "_RNvXsZ_NtCs1_5alloc6stringNtB4_6StringNtNtCs2aB_4core3fmt5Write9write_str";
        assert_eq!(plain(one), plain(other));
        assert_eq!(plain(one), "_RNvXsZ_NtC5alloc6stringNtB6StringNtNtC4core3fmt5Write9write_str");
        assert_eq!(plain("EVP_AEAD_CTX_open"), "EVP_AEAD_CTX_open");
    }

    #[test]
    fn the_program_with_symbols_is_beside_the_one_without() {
        let linked = Path::new("target/release/deps/keywheel-operator-0123456789abcdef");
        assert_eq!(beside(linked), Path::new("target/release/keywheel-operator.symbols"));
    }

    #[test]
    fn what_is_in_the_order_is_by_it_and_the_rest_is_the_linkers() {
        let order = tempfile::NamedTempFile::new().unwrap();
        writeln!(order.as_file(), "{}\n{}", mark("first"), mark("second")).unwrap();
        let mut listed = Vec::new();
        write(order.path(), "second T 0 1\nother T 0 1\nlib.o[a]:\nfirst t 1 2\n", &mut listed).unwrap();
        assert_eq!(String::from_utf8(listed).unwrap(), "first\nsecond\n");
    }
}
