//! How long a command that ends again and again is left alone.

use std::time::Duration;

/// When a command is started again after it ended by itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Policy {
    /// The program ends with the command's code
    #[default]
    Never,
    /// When it failed
    OnFailure,
    /// However it ended
    Always,
}

/// Returns the wait before the next start: one second, doubled with every failure in a row up to [`LONGEST`]; its second half is by chance
/// (`unit` is from `[0, 1)`), so that replicas do not come back together.
pub(super) fn pause(failures: u32, unit: f64) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST).mul_f64(0.5 + 0.5 * unit)
}

/// Returns how many failures in a row there are once a command has ended that ran for `span`.
pub(super) fn failures_after(span: Duration, before: u32) -> u32 {
    if span >= STEADY { 1 } else { before.saturating_add(1) }
}

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// A command that ran for that long had come up; what it ends with is something new.
const STEADY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_and_stay_within_bounds(failures in 1u32..=u32::MAX - 1, unit in 0.0..1.0f64) {
            let wait = pause(failures, unit);
            prop_assert!(wait >= Duration::from_millis(500) && wait <= LONGEST);
            prop_assert!(wait <= pause(failures + 1, unit));
        }
    }

    #[test]
    fn a_command_that_had_come_up_begins_anew() {
        assert_eq!(failures_after(Duration::from_secs(1), 5), 6);
        assert_eq!(failures_after(STEADY, 5), 1);
        assert_eq!(failures_after(Duration::ZERO, u32::MAX), u32::MAX);
    }
}
