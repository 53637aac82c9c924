//! Durations as the configuration writes them: `90s`, `5m`, `1h30m`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a duration; write 250ms, 90s, 5m, 1h30m or 30d")]
pub struct DurationError(String);

/// Parses whole numbers with the units `d`, `h`, `m`, `s` and `ms`, largest first, each at most once.
///
/// # Errors
/// A text of any other form, without a unit, or beyond 10,000 days.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    parse(text).ok_or_else(|| DurationError(text.chars().take(40).collect()))
}

/// Writes a duration as [`parse_duration`] reads it, down to milliseconds.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let count = rest / u128::from(millis);
        rest %= u128::from(millis);
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const MAX_MILLIS: u64 = 10_000 * 86_400_000;

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, millis) = units.find(|(unit, _)| *unit == &rest[..letters])?;
        total = total.checked_add(count.checked_mul(*millis)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty() && total <= MAX_MILLIS).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_the_forms_of_the_contract_and_no_others() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            "5m1h",
            "1m1m",
            "5x",
            "1.5s",
            "99999999999999999999s",
            "20000d",
            "٣s",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn formats_what_it_parses(millis in 0..=MAX_MILLIS) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            parse_duration(&text).ok();
        }
    }
}
