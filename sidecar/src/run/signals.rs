//! The signals that this program takes, to pass them on.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Listens from the moment it is made.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Listens for every signal in [`FORWARDED`]. One that this program was started with as ignored (as by nohup(1)) stays so, for the
    /// command as well; but not SIGTERM, with which somebody wants an end.
    pub(crate) fn listen() -> io::Result<Self> {
        let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
        let wanted = FORWARDED
            .iter()
            .filter(|signal| **signal == Signal::TERM || ignored & (1 << (signal.as_raw() - 1)) == 0);
        let listen = |signal: &Signal| Ok((*signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        wanted.map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next one. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits until somebody wants an end.
    pub(crate) async fn stop(&mut self) {
        while !matches!(self.next().await, Signal::TERM | Signal::INT) {}
    }
}

/// Every signal that asks a program for something, the most urgent first. Not among them are those that a program gets for what it did itself (SIGPIPE,
/// SIGSEGV, …), those of a terminal that is read from the background, and SIGCHLD.
const FORWARDED: [Signal; 17] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::CONT,
    Signal::TSTP,
    Signal::WINCH,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::XCPU,
    Signal::URG,
    Signal::IO,
    Signal::POWER,
    Signal::STKFLT,
];

/// Reads the mask of ignored signals out of `/proc/PID/status`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(ignored("Name:\tcat\nSigBlk:\t00000000000000ff\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored(""), 0);
    }
}
