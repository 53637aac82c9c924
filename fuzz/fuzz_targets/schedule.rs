//! Windows of time, and spans.

#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::config::{format_duration, parse_duration};
use keywheel_core::schedule::{Cron, Timing, Window};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (pattern, zone, span) =
        (lines.next().unwrap_or_default(), lines.next().unwrap_or("UTC"), lines.next().unwrap_or("1h"));
    let span = parse_duration(span).ok();
    if let Some(span) = span {
        assert_eq!(parse_duration(&format_duration(span)), Ok(span));
    }
    let Ok(opens) = Cron::try_new(pattern, zone) else { return };
    let now: Timestamp = "2026-03-29T00:30:00Z".parse().expect("a time");
    if let Some(next) = opens.next_after(now) {
        assert!(next > now, "{opens}: {next}");
    }
    if let Some(last) = opens.last_until(now) {
        assert!(last <= now, "{opens}: {last}");
    }
    let window = Window { opens, duration: span.unwrap_or(Duration::from_secs(3600)) };
    let timing = Timing { window: Some(window), offset: Duration::from_secs(30) };
    assert!(timing.applies_at(now, None) >= now);
});
