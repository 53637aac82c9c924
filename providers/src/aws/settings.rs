//! The settings of an `aws` provider, from the configuration or from the variables that its users set already.

use std::path::PathBuf;
use std::time::Duration;

use keywheel_core::config::{Item, Section};
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::{Error, Result};
use url::Url;

use super::Service;
use super::identity::Method;
use super::needs;
use crate::https::parse_origin;
use crate::https::tls::is_loopback;

/// Where the services are, how to reach them, and who to be there.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The region, where it is known without asking anybody.
    pub(super) region: Option<String>,
    /// Where the service is, and where STS is, if not where the region has them.
    pub(super) endpoint: Option<Url>,
    pub(super) sts_endpoint: Option<Url>,
    pub(super) variants: Variants,
    /// The authorities to trust; the system's, if left out.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) method: Method,
    /// What the SDK looks at on its own.
    pub(super) sdk: Needs,
    /// How long a rotation at the source may take.
    pub(super) rotate_within: Duration,
}

/// Which of a region's endpoints are asked, where none is named.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variants {
    pub(super) fips: bool,
    pub(super) dual_stack: bool,
}

impl Settings {
    /// Reads the configuration; mistakes go to the section. What it leaves out is the environment's.
    pub(super) fn parse(
        section: &mut Section<'_>,
        environment: &Environment,
        service: Service,
    ) -> Option<Self> {
        let region = checked(section, "region", |text| check_region(text).map(|()| text.to_owned()));
        let is_allowed = section.optional::<bool>("allow_insecure").unwrap_or_default();
        let endpoint = checked(section, "endpoint_url", |text| parse_endpoint(text, is_allowed));
        let sts = checked(section, "sts_endpoint_url", |text| parse_endpoint(text, is_allowed));
        let ca_file = section.optional::<PathBuf>("ca_file");
        let rotate_within = section.optional::<Duration>("rotate_within");
        let method = match section.item("auth") {
            Some(item) => item.section().and_then(|section| Method::parse(section, environment)),
            None => Some(Method::default()),
        };
        let mut settings = match Self::of_environment(environment, service, is_allowed) {
            Ok(settings) => settings,
            Err(reason) => {
                section.mistake(reason);
                return None;
            }
        };
        settings.region = region?.or(settings.region);
        settings.endpoint = endpoint?.or(settings.endpoint);
        settings.sts_endpoint = sts?.or(settings.sts_endpoint);
        settings.ca_file = ca_file.or(settings.ca_file);
        settings.rotate_within = rotate_within.unwrap_or(settings.rotate_within);
        settings.method = method?;
        Some(settings)
    }

    /// Reads the variables of the SDK.
    ///
    /// # Errors
    /// A variable that makes no sense, or that would have secrets sent in the clear.
    pub(super) fn from_environment(environment: &Environment, service: Service) -> Result<Self> {
        Self::of_environment(environment, service, false)
            .map_err(|reason| Error::config("read environment", reason))
    }

    fn of_environment(environment: &Environment, service: Service, is_allowed: bool) -> Result<Self, String> {
        let is_on = |name| environment.value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = |own: &'static str| {
            let names = [own, "AWS_ENDPOINT_URL"];
            let set = names.into_iter().find_map(|name| Some((name, environment.value(name)?)));
            let set = set.filter(|_| !is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"));
            set.map(|(name, text)| {
                parse_endpoint(text, is_allowed).map_err(|reason| format!("{name}: {reason}"))
            })
            .transpose()
        };
        let region = environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        if let Some(region) = region {
            check_region(region).map_err(|reason| format!("AWS_REGION: {reason}"))?;
        }
        Ok(Self {
            region: region.map(str::to_owned),
            endpoint: endpoint(service.endpoint_variable())?,
            sts_endpoint: endpoint("AWS_ENDPOINT_URL_STS")?,
            variants: Variants {
                fips: is_on("AWS_USE_FIPS_ENDPOINT"),
                dual_stack: is_on("AWS_USE_DUALSTACK_ENDPOINT"),
            },
            ca_file: environment.value("AWS_CA_BUNDLE").map(PathBuf::from),
            method: Method::default(),
            sdk: needs::of_sdk(environment),
            rotate_within: ROTATE_WITHIN,
        })
    }

    /// Names region, endpoint and identity, without a secret.
    pub(super) fn realm(&self) -> String {
        let region = self.region.as_deref().unwrap_or_default();
        let endpoint = self.endpoint.as_ref().map(Url::as_str).unwrap_or_default();
        format!("{region} {endpoint} {}", self.method.describe())
    }
}

impl Service {
    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            #[cfg(feature = "aws-ssm")]
            Self::ParameterStore => "AWS_ENDPOINT_URL_SSM",
        }
    }
}

/// Returns a setting that `parse` takes: `None` is a mistake, and is noted; `Some(None)` is left out.
#[allow(clippy::option_option, reason = "left out and wrong are two things")]
fn checked<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<Option<T>> {
    let Some(item) = section.item(key) else { return Some(None) };
    let noted = |item: &Item<'_>, reason: String| item.mistake(reason);
    let text = item.parse::<String>()?;
    parse(&text).map_err(|reason| noted(&item, reason)).ok().map(Some)
}

fn check_region(text: &str) -> Result<(), String> {
    let is_name = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match is_name && text.contains('-') && text.len() <= 64 {
        true => Ok(()),
        false => Err("must be a region such as eu-west-1".into()),
    }
}

/// Reads the origin of a service. Without TLS, it is this host's own unless `is_allowed`: signed requests show nothing, and the answers hold the
/// secrets.
fn parse_endpoint(text: &str, is_allowed: bool) -> Result<Url, String> {
    const FORM: &str = "must be a URL such as https://secretsmanager.eu-west-1.amazonaws.com";
    let url = parse_origin(text, FORM)?;
    if url.scheme() == "http" && !is_loopback(&url) && !is_allowed {
        let reason = "is http:// on another host: secrets would be sent in the clear; use https://, or set \
                      `allow_insecure: true` if that is what you want";
        return Err(reason.into());
    }
    Ok(url)
}

/// How long a rotation may take: its function has four steps, each a call to a database or to another service.
pub(super) const ROTATE_WITHIN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_in_the_clear_to_this_host_alone() {
        for fine in [
            "https://vpce-1.secretsmanager.eu-west-1.vpce.amazonaws.com",
            "http://127.0.0.1:4566",
            "http://localhost:4566",
            "http://[::1]:1",
        ] {
            assert!(parse_endpoint(fine, false).is_ok(), "{fine}");
        }
        for bad in
            ["http://aws.test", "http://127.0.0.1.evil.test", "http://10.0.0.1", "http://localhost.test"]
        {
            assert!(parse_endpoint(bad, false).unwrap_err().contains("in the clear"), "{bad}");
            assert!(parse_endpoint(bad, true).is_ok(), "{bad}");
        }
        for bad in ["aws.test", "ftp://aws.test", "https://u:p@aws.test", "https://aws.test?x", "https://"] {
            assert!(parse_endpoint(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_services_own_variable_wins_and_all_may_be_ignored() {
        let of = |variables: &[(&str, &str)]| {
            let environment: Environment = variables.iter().copied().collect();
            let settings = Settings::from_environment(&environment, Service::SecretsManager);
            settings.map(|settings| settings.endpoint.map(String::from)).map_err(|error| error.to_string())
        };
        let own = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://own.test/");
        let all = ("AWS_ENDPOINT_URL", "https://all.test/");
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[all]), Ok(Some("https://all.test/".into())));
        assert_eq!(of(&[all, own]), Ok(Some("https://own.test/".into())));
        assert_eq!(of(&[all, own, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]), Ok(None));
        let refused = of(&[("AWS_ENDPOINT_URL", "http://all.test/")]).unwrap_err();
        assert!(refused.contains("AWS_ENDPOINT_URL") && refused.contains("in the clear"), "{refused}");
        assert!(of(&[("AWS_REGION", "Ireland")]).unwrap_err().contains("AWS_REGION"));
    }
}
