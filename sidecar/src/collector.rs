//! The collector of traces that the environment names, in OpenTelemetry's words.

use keywheel_core::environment::Environment;
use reqwest::Url;

/// Returns its address; nothing where there is none, or none is wanted.
///
/// # Errors
/// Says in words which variable asks for what is not done here.
pub fn named(environment: &Environment) -> Result<Option<Url>, String> {
    let is_off =
        environment.value("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || environment.value("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp");
    let Some(address) = environment.first(&ENDPOINTS).filter(|_| !is_off) else { return Ok(None) };
    for (variables, known) in [(&PROTOCOLS, "http/protobuf"), (&COMPRESSIONS, "none")] {
        if let Some(other) = environment.first(variables).filter(|value| *value != known) {
            return Err(format!("{} is {other:?}, and only {known:?} is done here", variables[1]));
        }
    }
    let url =
        Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(Some).ok_or_else(|| format!("{} is no http:// or https:// URL", ENDPOINTS[1]))
}

/// Returns the port that traces go to, in a program that sends any.
pub fn port(environment: &Environment) -> Option<u16> {
    named(environment).ok().flatten().filter(|_| cfg!(feature = "otlp"))?.port_or_known_default()
}

/// Of each pair, the variable that counts first is the one for traces.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSIONS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];

#[cfg(test)]
mod tests {
    use super::*;

    fn named_by(variables: &[(&str, &str)]) -> Result<Option<Url>, String> {
        named(&variables.iter().copied().collect())
    }

    #[test]
    fn one_that_is_named_is_sent_to_unless_somebody_says_no() {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(named_by(&[collector]).unwrap().unwrap().port(), Some(4318));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "HTTPS://traces.shop.test/in");
        assert_eq!(named_by(&[collector, own]).unwrap().unwrap().as_str(), "https://traces.shop.test/in");
        for no in [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(named_by(&[collector, no]), Ok(None), "{no:?}");
        }
        assert_eq!(named_by(&[]), Ok(None));
    }

    #[test]
    fn what_is_not_done_is_said() {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ] {
            let reason = named_by(&[collector, (variable, value)]).unwrap_err();
            assert!(reason.starts_with(variable), "{reason}");
        }
        let spoken = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        assert!(named_by(&[collector, spoken]).unwrap().is_some());
    }
}
