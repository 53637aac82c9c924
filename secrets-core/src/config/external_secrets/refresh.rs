//! How often an `ExternalSecret` is read again.

use std::time::Duration;

use super::write::text;
use crate::config::SecretConfig;
use crate::config::duration::format_duration;
use crate::config::node::Node;
use crate::config::section::{Item, Section};

/// Reads `refreshInterval` and `refreshPolicy` into an interval of Keywheel's; notes what is wrong.
pub(super) fn read(spec: &mut Section<'_>) -> Option<Node> {
    let policy = spec.item("refreshPolicy");
    let interval = spec.item("refreshInterval");
    let once = match policy.as_ref().map(|policy| (policy, policy.text())) {
        None | Some((_, Some("Periodic"))) => false,
        Some((_, Some("CreatedOnce" | "OnChange"))) => true,
        Some((policy, _)) => {
            policy.mistake("must be Periodic, CreatedOnce or OnChange");
            return None;
        }
    };
    let place = interval.as_ref().or(policy.as_ref()).map_or(spec.place(), Item::place);
    let asked = match &interval {
        None => Some(DEFAULT_REFRESH),
        Some(item) => {
            let asked = item.scalar().and_then(|text| parse_go_duration(&text));
            if asked.is_none() {
                item.mistake("must be a duration such as 15s, 1h or 1h30m, of at most 10,000 days");
            }
            asked
        }
    };
    let asked = asked?;
    if once || asked.is_zero() {
        return Some(text(place, "never"));
    }
    if asked < SecretConfig::MIN_REFRESH {
        interval.as_ref()?.mistake("must be at least 100ms, or 0");
        return None;
    }
    Some(text(place, format_duration(asked)))
}

/// Parses a duration as Go writes it (`1h0m0s`, `1.5h`), up to [`LONGEST`].
fn parse_go_duration(source: &str) -> Option<Duration> {
    if source == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = source;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(scaled(number, *size)?)?;
        rest = after;
    }
    let duration = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (!source.is_empty() && duration <= LONGEST).then_some(duration)
}

/// Returns a decimal number of units of `size` nanoseconds.
fn scaled(number: &str, size: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || number.len() > 18 || fraction.contains('.') {
        return None;
    }
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let parts = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(parse(whole)? * size + parse(fraction)? * size / parts)
}

/// How often secrets are read again when nothing is said: the operator's own.
const DEFAULT_REFRESH: Duration = Duration::from_secs(3600);
/// The longest interval.
const LONGEST: Duration = Duration::from_secs(10_000 * 86_400);
const UNITS: [(&str, u128); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        for (text, millis) in [
            ("1h", 3_600_000),
            ("1h0m0s", 3_600_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1500ms", 1_500),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "m", "-1h", "1 h", "1d", "1..5h", ".h", "1.5.5h", "999999999h", "1hh", "٣s"] {
            assert_eq!(parse_go_duration(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_duration_panics(text in "[0-9.hmsnuµ -]{0,40}") {
            parse_go_duration(&text);
        }
    }
}
