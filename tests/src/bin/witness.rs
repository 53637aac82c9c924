//! `witness LOG PID_FILE`: appends a line to LOG for each SIGHUP, the time on the monotonic clock in nanoseconds.

#![allow(
    clippy::expect_used,
    reason = "a dummy that cannot set its stage has failed, and the panic says where"
)]

use std::fs::File;
use std::io::Write as _;

use keywheel_tests::wait;
use tokio::signal::unix::{SignalKind, signal};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (log, pid_file) = (arguments.next().expect("LOG"), arguments.next().expect("PID_FILE"));
    let mut log = File::options().create(true).append(true).open(log).expect("the log");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut hangups = signal(SignalKind::hangup()).expect("a signal handler");
        // Written aside and renamed: whoever sees the file finds the whole number in it.
        let aside = std::path::Path::new(&pid_file).with_extension("new");
        std::fs::write(&aside, std::process::id().to_string()).expect("the PID file");
        std::fs::rename(&aside, &pid_file).expect("the PID file");
        while hangups.recv().await.is_some() {
            let line = format!("{}\n", wait::monotonic().as_nanos());
            log.write_all(line.as_bytes()).expect("a line in the log");
        }
    });
}
