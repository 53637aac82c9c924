//! The settings of a `vault` provider, from the configuration or from the variables that its users set already.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::config::{Section, parse_duration};
use keywheel_core::environment::Environment;
use keywheel_core::identity::TokenIssuer;
use keywheel_core::needs::Needs;
use keywheel_core::{Error, Result};
use url::{Host, Url};

use super::login::Method;
use crate::authorities::Authorities;
use crate::https::parse_origin;
use crate::https::tls::{ClientFiles, TlsSettings};

/// Where the server is, how to reach it, and who to be there.
#[derive(Debug)]
pub(super) struct Settings {
    /// `http` or `https`, a host, and perhaps a path that the server is mounted below.
    pub(super) address: Url,
    pub(super) namespace: Option<String>,
    pub(super) tls: TlsSettings,
    /// How long one request may take, where this is set apart from the provider's own `timeout`.
    pub(super) timeout: Option<Duration>,
    pub(super) method: Method,
}

impl Settings {
    /// Reads the configuration; mistakes go to the section. Without `auth`, the token is the environment's; without a file, a token is the issuer's.
    pub(super) fn parse(
        section: &mut Section<'_>,
        environment: &Environment,
        issuer: Option<&Arc<dyn TokenIssuer>>,
    ) -> Option<Self> {
        let address = section.item("address").map(|item| {
            let parsed = item.parse::<String>().map(|text| parse_address(&text));
            parsed.and_then(|parsed| parsed.map_err(|reason| item.mistake(reason)).ok())
        });
        if address.is_none() {
            section.mistake("needs `address`, as in https://vault.company.com");
        }
        let address = address.flatten();
        let namespace = section.optional::<String>("namespace").map(|text| trim(&text));
        let tls = parse_tls(section, address.as_ref());
        let method = match section.item("auth") {
            Some(item) => item.section().and_then(|section| Method::parse(section, environment, issuer)),
            None => Some(Method::from_environment(environment)),
        };
        let (tls, method) = (tls?, method?);
        if matches!(method, Method::Cert { .. }) && tls.client.is_none() {
            section.mistake("`auth.method: cert` needs `client_cert_file` and `client_key_file`");
        }
        Some(Self { address: address?, namespace, tls, timeout: None, method })
    }

    /// Names server, namespace and identity, without a secret.
    pub(super) fn realm(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        format!("{} {namespace} {}", self.address, self.method.describe())
    }

    /// Returns what the server is reached with.
    pub(super) fn needs(&self) -> Needs {
        let TlsSettings { ca, client, .. } = &self.tls;
        let client = client.iter().flat_map(|files| [&files.certificate, &files.key]);
        Needs::default()
            .with_ports(self.address.port_or_known_default())
            .with_files(ca.iter().filter_map(Authorities::file))
            .with_files(client)
            .and(self.method.needs())
    }

    /// Reads the variables of the `vault` and `bao` commands; `BAO_…` wins over `VAULT_…`.
    ///
    /// # Errors
    /// A variable that makes no sense, or that would turn verification off.
    pub(super) fn from_environment(environment: &Environment) -> Result<Self> {
        let first = |names: [&'static str; 2]| environment.first(&names);
        let file = |names| first(names).map(PathBuf::from);
        let wrong = |name: &str, reason: &str| Error::config("read environment", format!("{name}: {reason}"));
        if let Some(value) = first(["BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"])
            && !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
        {
            let reason = "a server that is not verified is not sent a token";
            return Err(wrong("VAULT_SKIP_VERIFY", reason)
                .with_help("unset it, and name the authority's file in VAULT_CACERT"));
        }
        let address = first(["BAO_ADDR", "VAULT_ADDR"]).unwrap_or(DEFAULT_ADDRESS);
        let address = parse_address(address).map_err(|reason| wrong("VAULT_ADDR", &reason))?;
        let certificate = file(["BAO_CLIENT_CERT", "VAULT_CLIENT_CERT"]);
        let client = match (certificate, file(["BAO_CLIENT_KEY", "VAULT_CLIENT_KEY"])) {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
            (None, None) => None,
            _ => {
                return Err(wrong("VAULT_CLIENT_CERT", "it and VAULT_CLIENT_KEY belong together"));
            }
        };
        let server_name = first(["BAO_TLS_SERVER_NAME", "VAULT_TLS_SERVER_NAME"]).map(str::to_owned);
        if let Some(name) = &server_name {
            check_server_name(name).map_err(|reason| wrong("VAULT_TLS_SERVER_NAME", reason))?;
        }
        let timeout = match first(["BAO_CLIENT_TIMEOUT", "VAULT_CLIENT_TIMEOUT"]) {
            Some(text) => Some(parse_timeout(text).ok_or_else(|| {
                wrong("VAULT_CLIENT_TIMEOUT", "must be seconds, or a duration such as 30s, above 0")
            })?),
            None => None,
        };
        Ok(Self {
            address,
            namespace: first(["BAO_NAMESPACE", "VAULT_NAMESPACE"]).map(trim),
            tls: TlsSettings {
                ca: file(["BAO_CACERT", "VAULT_CACERT"]).map(Authorities::File),
                client,
                server_name,
            },
            timeout,
            method: Method::from_environment(environment),
        })
    }
}

fn parse_address(text: &str) -> Result<Url, String> {
    parse_origin(text, "must be a URL such as https://vault.company.com:8200")
}

fn parse_tls(section: &mut Section<'_>, address: Option<&Url>) -> Option<TlsSettings> {
    let ca = Authorities::parse(section);
    let certificate = section.optional::<PathBuf>("client_cert_file");
    let key = section.optional::<PathBuf>("client_key_file");
    let server_name = section.item("server_name").and_then(|item| {
        let name = item.parse::<String>()?;
        check_server_name(&name).map_err(|reason| item.mistake(reason)).ok()?;
        Some(name)
    });
    let any = ca.is_some() || certificate.is_some() || key.is_some() || server_name.is_some();
    if any && address.is_some_and(|address| address.scheme() == "http") {
        section.mistake(
            "has TLS settings, and its `address` is http://: nothing would be encrypted or verified",
        );
        return None;
    }
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
        (None, None) => None,
        _ => {
            section.mistake("needs `client_cert_file` and `client_key_file` together");
            return None;
        }
    };
    Some(TlsSettings { ca, client, server_name })
}

fn check_server_name(name: &str) -> Result<(), &'static str> {
    match Host::parse(name) {
        Ok(Host::Domain(_)) => Ok(()),
        _ => Err("must be a host name such as vault.company.com"),
    }
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let timeout = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => parse_duration(text).ok()?,
    };
    (!timeout.is_zero()).then_some(timeout)
}

fn trim(namespace: &str) -> String {
    namespace.trim_matches('/').to_owned()
}

const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
