//! What AWS is asked with, and what the SDK looks at on its own, as far as a sandbox has to allow it.

use std::path::{Path, PathBuf};

use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use url::Url;

use super::identity::Method;
use super::settings::Settings;

/// Returns what a provider with these settings needs.
pub(super) fn of(settings: &Settings) -> Needs {
    let port = |endpoint: &Option<Url>| endpoint.as_ref().map_or(Some(HTTPS), Url::port_or_known_default);
    let ports = port(&settings.endpoint).into_iter().chain(port(&settings.sts_endpoint));
    let own = Needs::default().with_ports(ports).with_files(settings.ca_file.iter().cloned());
    let own = match &settings.method {
        Method::Chain | Method::Profile(_) | Method::AssumeRole { .. } => own.and(settings.sdk.clone()),
        Method::WebIdentity { token, .. } => own.with_files([token]),
        Method::PodIdentity(agent) => {
            own.with_files(agent.token_file()).with_ports(agent.endpoint().port_or_known_default())
        }
    };
    // Where no region is set, the SDK looks for one.
    if settings.region.is_none() { own.and(settings.sdk.clone()) } else { own }
}

/// Returns what the SDK's chain looks at: its files, and who gives credentials to containers and instances.
pub(super) fn of_sdk(environment: &Environment) -> Needs {
    let home = Path::new(environment.value("HOME").unwrap_or("/")).join(".aws");
    let file = |variable: &str, name: &str| {
        environment.value(variable).map_or_else(|| home.join(name), PathBuf::from)
    };
    let profiles = [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
    let tokens = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
    let agents = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];
    let port = |variable: &&str| Url::parse(environment.value(variable)?).ok()?.port_or_known_default();
    let needs = Needs::default()
        .with_files(tokens.iter().filter_map(|variable| environment.value(variable)))
        .with_ports(agents.iter().filter_map(port))
        // The metadata of instances and of ECS, and single sign-on.
        .with_ports([80, HTTPS]);
    profiles.into_iter().fold(needs, |needs, file| {
        let mut needs = needs.with_files([file.clone()]);
        needs.programs.insert((file.clone(), "credential_process"));
        needs.named_in.insert((file, "web_identity_token_file"));
        needs
    })
}

const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Service;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let environment: Environment = variables.iter().copied().collect();
        Settings::from_environment(&environment, Service::SecretsManager).unwrap()
    }

    #[test]
    fn the_chain_may_look_where_the_sdk_looks() {
        let needs = of(&settings(&[
            ("HOME", "/home/me"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks/token"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:8009/creds"),
        ]));
        assert_eq!(needs.ports, [80, 443, 5000, 8009].into());
        let files: Vec<_> = needs.files.iter().map(|file| file.to_str().unwrap()).collect();
        let all = ["/home/me/.aws/config", "/home/me/.aws/credentials", "/var/run/secrets/eks/token"];
        assert_eq!(files, all);
        assert_eq!(needs.programs.len(), 2);
    }

    #[test]
    fn a_token_of_ones_own_needs_no_more_than_that() {
        let mut settings = settings(&[("AWS_REGION", "eu-west-1"), ("AWS_CA_BUNDLE", "/etc/aws/ca.pem")]);
        settings.method = Method::web_identity("arn:aws:iam::123456789012:role/orders", "/run/t/token");
        let needs = of(&settings);
        assert_eq!(needs.ports, [443].into());
        assert_eq!(needs.files, ["/etc/aws/ca.pem".into(), "/run/t/token".into()].into());
        assert!(needs.programs.is_empty());
        settings.region = None;
        assert!(of(&settings).ports.contains(&80), "the instance is asked for the region");
    }
}
