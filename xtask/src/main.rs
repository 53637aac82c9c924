//! Keywheel's own commands, run as `cargo xtask COMMAND`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for developers speaks to its terminal"
)]

mod bench;
mod command;
mod crds;
mod deps;
mod dist;
mod e2e;
mod features;
mod fuzz;
mod materials;
mod order;
mod packages;
mod real_parts;
mod reference;
mod schema;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(order) = std::env::var_os(order::LINKS) {
        return ended("link", order::link(order.as_ref(), &std::env::args_os().skip(1).collect::<Vec<_>>()));
    }
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<_> = arguments.collect();
    let done = match command.as_str() {
        "test" => test::run(&rest),
        "soak" => test::soak(&rest),
        "bench" => bench::run(&rest),
        "crds" => crds::run(),
        "schema" => schema::run(),
        "deps" => deps::run(),
        "dist" => dist::run(&rest),
        "e2e" => e2e::run(&rest),
        "features" => features::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "order" => order::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(EX_USAGE);
        }
    };
    ended(&command, done)
}

fn ended(command: &str, done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [ARG…]   bring the servers that the tests need into target/real-parts, then run every test;
                ARGs go to `cargo nextest run` (or `cargo test`), and then documentation tests are left out
  soak [ARG…]   run the tests that last long at their full length (ten minutes); needs cargo-nextest
  bench [ARG…]  measure keywheel agent and bao agent side by side; --help tells more
  crds          write the definitions of the cluster's resources into deploy/
  schema        write the schema of the configuration, and the book's page on it
  deps          check the arrows between the packages, the dependency tree, and how much the core alone compiles
  dist [--verify] [PROGRAM]
                build the static programs, their bills of materials and checksums into target/dist; with --verify,
                build them in a second folder as well and compare
  e2e           run the tests that need a cluster, if KEYWHEEL_TEST_KUBECONFIG or KUBECONFIG names one;
                `e2e root FOLDER [--dist]` lays out the image that KEYWHEEL_TEST_IMAGE is to name
  features [PACKAGE[/FEATURE]…]
                check that every feature compiles without the others (an hour, without arguments)
  order         list again which functions an agent calls, for `dist` to put them side by side; needs valgrind
  fuzz [ARG…]   build the fuzz targets into target/fuzz and run each; [--seconds N] (20) [--keep] [TARGET…]";

/// sysexits.h: the command was used incorrectly.
const EX_USAGE: u8 = 64;
