//! `cargo xtask bench`: measures `keywheel agent` and `bao agent` on one server, one after the other, round by round.
//!
//! Both get a token of the same policy from a file, the same secrets, one file per secret, the same memory-backed
//! volume and the same 30 s between two looks at a secret. All else is as it comes: keywheel has its default budget,
//! and `bao agent` has none.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to its terminal")]
#![allow(
    clippy::expect_used,
    reason = "a bench that cannot set its stage has failed, and the panic says where"
)]

mod contender;
mod measure;
mod options;
mod report;

use std::process::ExitCode;

use contender::Contender;
use keywheel_tests::OpenBao;
use measure::Stage;
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
    let server = OpenBao::start();
    let stage = Stage::set(&server, &options);
    let mut report = Report::new(&options);

    // The first start of a program reads it from the disk, which is nobody's merit.
    for contender in &options.contenders {
        stage.run(*contender, 1, WARM_UP);
    }
    for round in 0..options.rounds {
        for secrets in [1, options.secrets] {
            for contender in in_turn(&options.contenders, round) {
                eprintln!("round {} of {}: {contender}, secrets: {secrets}", round + 1, options.rounds);
                report.add(contender, secrets, &stage.run(contender, secrets, options.idle));
            }
        }
    }
    println!("{report}");
    eprintln!("written to {}", report.write().display());
    ExitCode::SUCCESS
}

/// Lets another one begin in every round.
fn in_turn(contenders: &[Contender], round: usize) -> Vec<Contender> {
    let mut contenders = contenders.to_vec();
    let count = contenders.len();
    contenders.rotate_left(round % count);
    contenders
}

const WARM_UP: std::time::Duration = std::time::Duration::from_millis(100);

/// sysexits.h: the command was used incorrectly.
const EX_USAGE: u8 = 64;
