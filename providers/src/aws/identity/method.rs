//! The ways to become somebody to AWS.

use std::path::PathBuf;

use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::identity::TokenSource;
use url::{Host, Url};

use crate::https::tls::is_loopback;

/// How the provider becomes somebody.
#[derive(Clone, Debug, Default)]
pub(in crate::aws) enum Method {
    /// What the SDK's default chain finds.
    #[default]
    Chain,
    /// A profile of the SDK's files.
    Profile(String),
    /// A token that the account's identity provider signed, such as a cluster's.
    WebIdentity { role: Role, token: PathBuf },
    /// The agent on the node that knows what the pod may be.
    PodIdentity(Agent),
    /// A role that somebody else, of the chain or a profile, may assume.
    AssumeRole { role: Role, external_id: Option<String>, profile: Option<String> },
}

/// A role, and what its session is called.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Role {
    pub(super) arn: String,
    pub(super) session: String,
}

/// Where credentials are to be had for the asking, and what to present there.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Agent {
    pub(super) endpoint: Url,
    /// Read again each time.
    pub(super) token: Option<PathBuf>,
}

impl Agent {
    pub(in crate::aws) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    pub(in crate::aws) fn token_file(&self) -> Option<&PathBuf> {
        self.token.as_ref()
    }

    pub(super) fn token(&self) -> Option<TokenSource> {
        self.token.clone().map(TokenSource::File)
    }
}

impl Method {
    /// Reads the section `auth`; mistakes go to it. What it leaves out is the environment's, as the SDK knows it.
    pub(in crate::aws) fn parse(mut section: Section<'_>, environment: &Environment) -> Option<Self> {
        let name = section.item("method");
        let method = match name.as_ref().map(|item| item.parse::<String>()) {
            None => Some("default".to_owned()),
            Some(name) => name,
        };
        let parsed = match method?.as_str() {
            "default" => Some(Self::Chain),
            "profile" => section.required("profile").map(Self::Profile),
            "web_identity" => {
                let role = Role::parse(&mut section, environment);
                let token = text(&mut section, "token_file", environment, "AWS_WEB_IDENTITY_TOKEN_FILE");
                role.zip(token).map(|(role, token)| Self::WebIdentity { role, token: token.into() })
            }
            "pod_identity" => Agent::parse(&mut section, environment).map(Self::PodIdentity),
            "assume_role" => {
                // The variable names the role that the chain itself becomes.
                let role = Role::parse(&mut section, &Environment::default());
                let external_id = section.optional("external_id");
                let profile = section.optional("profile");
                role.map(|role| Self::AssumeRole { role, external_id, profile })
            }
            _ => {
                if let Some(name) = name {
                    name.mistake("must be default, profile, web_identity, pod_identity or assume_role");
                }
                // Which keys belong to it is anybody's guess.
                return None;
            }
        };
        section.finish();
        parsed
    }

    /// Returns the method of a role that a token is for.
    #[cfg(test)]
    pub(in crate::aws) fn web_identity(arn: &str, token: &str) -> Self {
        Self::WebIdentity { role: Role { arn: arn.into(), session: SESSION.into() }, token: token.into() }
    }

    /// Returns the profile whose settings count.
    pub(in crate::aws) fn profile(&self) -> Option<&str> {
        match self {
            Self::Profile(profile) | Self::AssumeRole { profile: Some(profile), .. } => Some(profile),
            _ => None,
        }
    }

    /// Names the identity, without a secret.
    pub(in crate::aws) fn describe(&self) -> String {
        match self {
            Self::Chain => "default".into(),
            Self::Profile(profile) => format!("profile {profile}"),
            Self::WebIdentity { role, .. } => format!("web_identity {}", role.arn),
            Self::PodIdentity(_) => "pod_identity".into(),
            Self::AssumeRole { role, .. } => format!("assume_role {}", role.arn),
        }
    }
}

impl Role {
    fn parse(section: &mut Section<'_>, environment: &Environment) -> Option<Self> {
        let item = section.item("role_arn");
        let arn = match &item {
            Some(item) => item.parse::<String>(),
            None => environment.value("AWS_ROLE_ARN").map(str::to_owned),
        };
        let arn = match (arn, &item) {
            (Some(arn), _) if is_role(&arn) => Some(arn),
            (Some(_), Some(item)) => {
                item.mistake("must be the ARN of a role, as in arn:aws:iam::123456789012:role/orders");
                None
            }
            (Some(_), None) => {
                section.mistake("AWS_ROLE_ARN must be the ARN of a role");
                None
            }
            (None, None) => {
                section.mistake("needs `role_arn`");
                None
            }
            (None, Some(_)) => None,
        };
        let session = section.item("session_name");
        let name = session.as_ref().and_then(|item| item.parse::<String>());
        let name = name
            .or_else(|| environment.value("AWS_ROLE_SESSION_NAME").map(str::to_owned))
            .unwrap_or_else(|| SESSION.to_owned());
        if !is_session(&name) {
            let reason = "must have 2 to 64 letters, digits or characters of =,.@_-";
            match session {
                Some(item) => item.mistake(reason),
                None => section.mistake(format!("AWS_ROLE_SESSION_NAME {reason}")),
            }
            return None;
        }
        Some(Self { arn: arn?, session: name })
    }
}

impl Agent {
    fn parse(section: &mut Section<'_>, environment: &Environment) -> Option<Self> {
        let endpoint = text(section, "endpoint", environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let token = section
            .optional::<PathBuf>("token_file")
            .or_else(|| environment.value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from));
        match Url::parse(&endpoint?) {
            Ok(endpoint) if is_near(&endpoint) => Some(Self { endpoint, token }),
            _ => {
                section.mistake(
                    "`endpoint` must be https://, or http:// on this host or at the node's agent \
                     (169.254.170.23, fd00:ec2::23)",
                );
                None
            }
        }
    }
}

/// Returns a setting, or the variable that stands for it; notes the mistake where neither is there.
fn text(
    section: &mut Section<'_>,
    key: &'static str,
    environment: &Environment,
    variable: &str,
) -> Option<String> {
    match section.item(key) {
        Some(item) => item.parse(),
        None => environment.value(variable).map(str::to_owned).or_else(|| {
            section.mistake(format!("needs `{key}` ({variable})"));
            None
        }),
    }
}

/// Tells whether a request to `url` stays where nobody listens: the addresses that the SDKs allow without TLS.
fn is_near(url: &Url) -> bool {
    let is_link_local = match url.host() {
        Some(Host::Ipv4(host)) => AGENTS_4.contains(&host.octets()),
        Some(Host::Ipv6(host)) => host.segments() == AGENT_6,
        _ => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && (is_loopback(url) || is_link_local))
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, name]
        if partition.starts_with("aws")
            && !account.is_empty()
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && name.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}

fn is_session(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "=,.@_-".contains(c))
}

/// What AWS's own log calls whoever is here.
pub(in crate::aws) const SESSION: &str = "keywheel";
/// The agents of ECS and of EKS.
const AGENTS_4: [[u8; 4]; 2] = [[169, 254, 170, 2], [169, 254, 170, 23]];
const AGENT_6: [u16; 8] = [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agents_addresses_are_asked_without_tls() {
        for (url, near) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://127.0.0.1:1/", true),
            ("https://agent.test/", true),
            ("http://agent.test/", false),
            ("http://169.254.169.254/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_near(&Url::parse(url).unwrap()), near, "{url}");
        }
    }

    #[test]
    fn a_role_is_told_from_other_arns() {
        for (arn, good) in [
            ("arn:aws:iam::123456789012:role/orders", true),
            ("arn:aws-cn:iam::123456789012:role/path/orders", true),
            ("arn:aws:iam::123456789012:user/orders", false),
            ("arn:aws:iam::me:role/orders", false),
            ("arn:aws:sts::123456789012:assumed-role/orders/x", false),
            ("orders", false),
        ] {
            assert_eq!(is_role(arn), good, "{arn}");
        }
    }
}
