//! `cargo xtask bench`: measures `keywheel agent` and `bao agent` on one server, one after the other, round by round.
//!
//! Both get a token of the same policy from a file, the same secrets, one file per secret, the same memory-backed
//! volume and the same time between two looks at a secret. All else is as it comes: keywheel has its default budget,
//! and `bao agent` has none.
//!
//! ```text
//! Section -> Order (files) -> Contender (configuration, command) -> Running -> Figure -> Report
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to its terminal")]
#![allow(
    clippy::expect_used,
    reason = "a bench that cannot set its stage has failed, and the panic says where"
)]

mod configuration;
mod contender;
mod copies;
mod dynamic;
mod figure;
mod footprint;
mod job;
mod measure;
mod options;
mod polling;
mod report;
mod samples;
mod section;

use std::process::ExitCode;

use options::Options;
use report::Report;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(EX_USAGE);
        }
    };
    let mut report = Report::new(&options);
    for section in &options.sections {
        section.measure(&options, &mut report);
    }
    println!("{report}");
    for file in report.write() {
        eprintln!("written to {}", file.display());
    }
    ExitCode::SUCCESS
}

/// sysexits.h: the command was used incorrectly.
const EX_USAGE: u8 = 64;
