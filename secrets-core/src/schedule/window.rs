//! When a change that is not urgent may be applied: in a window of time, and not by all replicas at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Cron;
use crate::clock::later;
use crate::fingerprint;

/// A window that opens by a cron pattern and stays open for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Window {
    /// When it opens.
    pub opens: Cron,
    /// For how long.
    pub duration: Duration,
}

/// When a change may be applied.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Timing {
    /// The window that it waits for; any time will do without one.
    pub window: Option<Window>,
    /// By how much this process is later than the others, at most [`splay`].
    pub offset: Duration,
}

impl Timing {
    /// Returns when a change that was seen at `seen_at` may be applied: at once, or in the next window where none is open; later by the
    /// offset, as far as the window has room for it; and in any case at `latest`, when what it replaces must no longer be used.
    pub fn applies_at(&self, seen_at: Timestamp, latest: Option<Timestamp>) -> Timestamp {
        let at = match &self.window {
            None => later(seen_at, self.offset),
            Some(window) => {
                let offset = self.offset.min(window.duration / 2);
                let shifted = later(seen_at, offset);
                if window.is_open(seen_at) && window.is_open(shifted) {
                    shifted
                } else if window.is_open(seen_at) {
                    seen_at
                } else {
                    // A pattern that comes up at all comes up again.
                    window.opens.next_after(seen_at).map_or(Timestamp::MAX, |open| later(open, offset))
                }
            }
        };
        latest.map_or(at, |latest| at.min(latest.max(seen_at)))
    }
}

impl Window {
    /// Tells whether it is open.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let opened = self.opens.last_until(at);
        opened.is_some_and(|opened| at.duration_since(opened) < span(self.duration))
    }
}

/// Returns the part of `splay` by which the process with this identity is later than the others: the same at every change, and evenly spread
/// over identities.
pub fn splay(splay: Duration, identity: &str) -> Duration {
    let digest = fingerprint::digest(identity.as_bytes());
    let unit = u32::from_str_radix(digest.get(..8).unwrap_or_default(), 16).unwrap_or_default();
    splay.mul_f64(f64::from(unit) / (f64::from(u32::MAX) + 1.0))
}

fn span(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::CronError;

    const HOUR: Duration = Duration::from_secs(3600);

    fn window(pattern: &str, zone: &str, duration: Duration) -> Window {
        Window { opens: Cron::try_new(pattern, zone).unwrap(), duration }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn applies(timing: &Timing, seen_at: &str) -> String {
        timing.applies_at(at(seen_at), None).to_string()
    }

    #[test]
    fn a_change_waits_for_its_window() {
        let night = Timing { window: Some(window("0 2 * * *", "Europe/Berlin", 2 * HOUR)), offset: HOUR / 2 };
        assert_eq!(applies(&night, "2026-11-22T12:00:00Z"), "2026-11-23T01:30:00Z");
        assert_eq!(applies(&night, "2026-11-23T01:10:00Z"), "2026-11-23T01:40:00Z");
        assert_eq!(
            applies(&night, "2026-11-23T02:50:00Z"),
            "2026-11-23T02:50:00Z",
            "there is no room for the offset"
        );
        assert_eq!(applies(&night, "2026-11-23T03:00:00Z"), "2026-11-24T01:30:00Z");
        assert_eq!(applies(&night, "2026-07-01T12:00:00Z"), "2026-07-02T00:30:00Z", "in summer");
        let any = Timing { window: None, offset: HOUR };
        assert_eq!(applies(&any, "2026-11-23T03:00:00Z"), "2026-11-23T04:00:00Z");
    }

    #[test]
    fn a_credential_that_ends_does_not_wait() {
        let night = Timing { window: Some(window("0 2 * * *", "UTC", 2 * HOUR)), offset: HOUR };
        let seen_at = at("2026-11-22T12:00:00Z");
        let applies_at = |latest: &str| night.applies_at(seen_at, Some(at(latest))).to_string();
        assert_eq!(applies_at("2026-11-22T13:00:00Z"), "2026-11-22T13:00:00Z");
        assert_eq!(applies_at("2026-11-22T11:00:00Z"), "2026-11-22T12:00:00Z", "it is late already");
        assert_eq!(applies_at("2027-11-22T11:00:00Z"), "2026-11-23T03:00:00Z");
    }

    #[test]
    fn daylight_saving_opens_each_window_once() {
        let zone = "Europe/Berlin";
        // On the 29th of March 2026 there is no 02:30; on the 25th of October there are two.
        let half_past_two = Cron::try_new("30 2 * * *", zone).unwrap();
        let count = |from: &str, to: &str| {
            let (mut next, mut found) = (half_past_two.next_after(at(from)), Vec::new());
            while let Some(fires) = next.filter(|fires| *fires < at(to)) {
                found.push(fires.to_string());
                next = half_past_two.next_after(fires);
            }
            found
        };
        assert_eq!(count("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z").len(), 2);
        assert_eq!(
            count("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        let window = window("30 2 * * *", zone, HOUR);
        assert!(window.is_open(at("2026-10-25T01:15:00Z")) && !window.is_open(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn what_is_no_pattern_or_zone_is_refused() {
        for pattern in ["", "x", "* * * *", "0 0 2 * * *", "61 * * * *", "* * * * * 2026"] {
            assert_eq!(Cron::try_new(pattern, "UTC"), Err(CronError::Pattern), "{pattern}");
        }
        assert_eq!(Cron::try_new("0 0 31 2 *", "UTC"), Err(CronError::Never));
        assert_eq!(Cron::try_new("0 0 29 2 *", "UTC").map(drop), Ok(()));
        assert_eq!(Cron::try_new("@daily", "Mars/Olympus"), Err(CronError::Zone));
    }

    proptest! {
        #[test]
        fn a_change_is_applied_in_a_window_and_never_before_it_was_seen(
            hour in 0u8..24, minute in 0u8..60, seen in 1_700_000_000i64..1_900_000_000, hours in 1u32..20, unit in 0.0..1.0f64,
        ) {
            let window = window(&format!("{minute} {hour} * * *"), "America/New_York", HOUR * hours);
            let timing = Timing { offset: (HOUR * hours).mul_f64(unit), window: Some(window.clone()) };
            let seen_at = Timestamp::from_second(seen).unwrap();
            let applies_at = timing.applies_at(seen_at, None);
            prop_assert!(applies_at >= seen_at && window.is_open(applies_at));
            prop_assert!(applies_at.duration_since(seen_at).as_hours() <= 47);
        }

        #[test]
        fn replicas_are_spread_and_each_stays_in_its_place(name in "[a-f0-9]{8}-[a-f0-9]{4}") {
            let offset = splay(HOUR, &name);
            prop_assert!(offset < HOUR);
            prop_assert_eq!(offset, splay(HOUR, &name));
        }
    }

    #[test]
    fn replicas_do_not_act_together() {
        let mut tenths = [0; 10];
        for pod in 0..1000 {
            let offset = splay(Duration::from_secs(10), &format!("pod-{pod}"));
            tenths[usize::try_from(offset.as_secs()).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (60..150).contains(count)), "{tenths:?}");
    }
}
