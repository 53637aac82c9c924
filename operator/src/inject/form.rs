//! The forms that values of annotations have. What is wrong is said in words that follow the annotation's name, and without the value.

use std::time::Duration;

use keywheel_core::SecretRef;
use keywheel_core::config::parse_duration;
use keywheel_core::payload;

/// Checks a NAME: what Kubernetes lets the key of an annotation end with.
pub(super) fn name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let good = name.len() <= 63
        && name.chars().all(plain)
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && !name.contains("..");
    good.then_some(()).ok_or_else(|| "its NAME may have letters, digits, `-`, `_` and `.`".into())
}

/// Checks the name of an object in a cluster (a DNS subdomain, RFC 1123).
pub(super) fn object_name(value: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let good = value.len() <= 253 && value.split('.').all(label);
    good.then(|| value.to_owned()).ok_or_else(|| "must be the name of a ConfigMap".into())
}

/// Reads names with commas between them.
pub(super) fn names(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().any(String::is_empty) || names.len() > MOST_NAMES {
        true => Err(format!("must be names with commas between them, {MOST_NAMES} at most")),
        false => Ok(names),
    }
}

/// Checks the path of a directory in a container.
pub(super) fn directory(value: &str) -> Result<String, String> {
    let good = value.strip_prefix('/').is_some_and(|path| {
        path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains([':', '\n', '\t'])
    });
    let good = good && value.len() <= 1024 && !FORBIDDEN.contains(&value);
    good.then(|| value.to_owned()).ok_or_else(|| {
        "must be an absolute path, in one piece, of a directory that nothing else needs".into()
    })
}

/// Checks a quantity as Kubernetes writes it.
pub(super) fn quantity(value: &str) -> Result<String, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let whole = number.split('.').all(|part| !part.is_empty()) && number.matches('.').count() <= 1;
    let good = whole && value.len() <= 16 && UNITS.iter().any(|(name, _)| *name == unit);
    good.then(|| value.to_owned()).ok_or_else(|| "must be a quantity such as 50m, 16Mi or 1".into())
}

/// Returns how much a quantity is.
pub(super) fn amount(quantity: &str) -> f64 {
    let digits = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map_or(1.0, |(_, factor)| *factor);
    number.parse::<f64>().unwrap_or_default() * factor
}

/// Reads a user's or group's number, but for root's.
pub(super) fn user(value: &str) -> Result<i64, String> {
    let number = value.parse().ok().filter(|number: &i64| (1..=i64::from(i32::MAX)).contains(number));
    number.ok_or_else(|| "must be a whole number above 0: a sidecar is not run as root".into())
}

/// Reads for how long a token is valid. The kubelet makes none for less than ten minutes.
pub(super) fn token_ttl(value: &str) -> Result<Duration, String> {
    let ttl = parse_duration(value).map_err(|error| error.to_string())?;
    let bounds = Duration::from_secs(600)..=Duration::from_secs(3600);
    bounds.contains(&ttl).then_some(ttl).ok_or_else(|| "must be from 10m to 1h".into())
}

/// Checks the name of an image, as far as a registry's rules do not.
pub(super) fn image(value: &str) -> Result<String, String> {
    let good = value.len() <= 512 && value.chars().all(|c| c.is_ascii_graphic());
    good.then(|| value.to_owned()).ok_or_else(|| "must be the name of an image".into())
}

/// Checks what `KEYWHEEL_LOG` takes.
pub(super) fn log_level(value: &str) -> Result<String, String> {
    let good = ["off", "error", "warn", "info", "debug", "trace"].contains(&value);
    good.then(|| value.to_owned()).ok_or_else(|| "must be off, error, warn, info, debug or trace".into())
}

/// Checks a way to log in that needs nothing but the pod's own token.
pub(super) fn method(value: &str) -> Result<String, String> {
    let good = ["kubernetes", "jwt"].contains(&value);
    good.then(|| value.to_owned()).ok_or_else(|| "must be kubernetes or jwt".into())
}

/// Checks a reference to a secret.
pub(super) fn reference(value: &str) -> Result<(), String> {
    value.parse::<SecretRef>().map(drop).map_err(|error| error.to_string())
}

/// Checks the mode of a file.
pub(super) fn mode(value: &str) -> Result<(), String> {
    value.parse::<payload::Mode>().map(drop).map_err(|error| error.to_string())
}

const UNITS: [(&str, f64); 8] = [
    ("", 1.0),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
];
const MOST_NAMES: usize = 64;
/// A volume there would hide what a container needs.
const FORBIDDEN: [&str; 10] =
    ["/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sys", "/usr", "/var"];
