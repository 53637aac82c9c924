//! The ways to log in, and the token that each of them yields.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::fingerprint::digest;
use keywheel_core::identity::{TokenIssuer, TokenSource};
use keywheel_core::lease::Term;
use keywheel_core::needs::Needs;
use keywheel_core::{Clock, Error, Result, SecretValue};
use rustify::endpoint::Endpoint;
use serde::Deserialize;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use zeroize::Zeroize;

use super::endpoint::Logical;
use super::error;
use super::life::Life;
use super::transport::{Call, Transport};
use super::wrapping::{Unwrapped, WrappedSecretId};
#[cfg(feature = "kubernetes")]
use crate::kubernetes::{AccountTokens, TokenRequest};

/// How the provider becomes somebody to the server.
#[derive(Debug)]
pub(super) enum Method {
    /// A token that somebody else obtained.
    Token(TokenSource),
    /// A service-account token that the server has the cluster review.
    Kubernetes(JwtLogin),
    /// A signed token that the server verifies by itself.
    Jwt(JwtLogin),
    /// A role's id with a secret id.
    AppRole { mount: String, role_id: TokenSource, secret_id: SecretId },
    /// The client certificate of the connection.
    Cert { mount: String, role: Option<String> },
}

/// One thing that a login is made with.
pub(super) struct Credential<'a> {
    /// What it is called.
    pub(super) name: &'static str,
    pub(super) source: &'a TokenSource,
    pub(super) is_jwt: bool,
}

/// Where an approle's secret id comes from.
#[derive(Debug)]
pub(super) enum SecretId {
    /// It is there as it is.
    Plain(TokenSource),
    /// It is wrapped: behind a token for one use.
    Wrapped(WrappedSecretId),
}

#[derive(Debug)]
pub(super) struct JwtLogin {
    mount: String,
    role: Option<String>,
    source: TokenSource,
}

impl fmt::Display for JwtLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.mount, self.role.as_deref().unwrap_or_default())?;
        match &self.source {
            TokenSource::Issued(issuer) => write!(f, " {}", issuer.account()),
            TokenSource::File(_) | TokenSource::Value(_) => Ok(()),
        }
    }
}

/// What a login yields.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) token: SecretValue,
    pub(super) life: Life,
}

impl Method {
    /// Reads the section `auth`; mistakes go to it. Where it names no token of a service account, `issuer` is asked for one.
    pub(super) fn parse(
        mut section: Section<'_>,
        environment: &Environment,
        issuer: Option<&Arc<dyn TokenIssuer>>,
    ) -> Option<Self> {
        let name = section.item("method");
        let method = match name.as_ref().map(|item| item.parse::<String>()) {
            None => Some("token".to_owned()),
            Some(name) => name,
        };
        let parsed = match method?.as_str() {
            "token" => parse_source(&mut section, "token", "token_file").map(Self::Token),
            "kubernetes" => {
                let source = account_token(&mut section, environment, issuer, Some(SERVICE_ACCOUNT_TOKEN));
                let role = section.required("role");
                let mount = mount(&mut section, "kubernetes");
                let login = |(role, source)| JwtLogin { mount, role: Some(role), source };
                role.zip(source).map(login).map(Self::Kubernetes)
            }
            "jwt" => {
                let source = account_token(&mut section, environment, issuer, None);
                let role = section.optional("role");
                let mount = mount(&mut section, "jwt");
                source.map(|source| Self::Jwt(JwtLogin { mount, role, source }))
            }
            "approle" => {
                let role_id = parse_source(&mut section, "role_id", "role_id_file");
                let secret_id = parse_source(&mut section, "secret_id", "secret_id_file");
                let creation_path = section.optional::<String>("secret_id_response_wrapping_path");
                let secret_id = secret_id.map(|source| match creation_path {
                    Some(path) => SecretId::Wrapped(WrappedSecretId::new(source, &path)),
                    None => SecretId::Plain(source),
                });
                let mount = mount(&mut section, "approle");
                role_id.zip(secret_id).map(|(role_id, secret_id)| Self::AppRole { mount, role_id, secret_id })
            }
            "cert" => {
                let role = section.optional("role");
                Some(Self::Cert { mount: mount(&mut section, "cert"), role })
            }
            _ => {
                if let Some(name) = name {
                    name.mistake("must be kubernetes, jwt, approle, cert or token");
                }
                // Which keys belong to it is anybody's guess.
                return None;
            }
        };
        section.finish();
        parsed
    }

    /// Takes the token that the `vault` and `bao` commands would take: the variable's, else the file's that their `login` writes.
    pub(super) fn from_environment(environment: &Environment) -> Self {
        let source = match environment.first(&["BAO_TOKEN", "VAULT_TOKEN"]) {
            Some(token) => TokenSource::Value(SecretValue::copy_of(token.trim().as_bytes())),
            None => {
                let home = environment.value("HOME").unwrap_or("/");
                TokenSource::File(PathBuf::from(home).join(".vault-token"))
            }
        };
        Self::Token(source)
    }

    /// Returns what a login is made with, beside a client certificate.
    pub(super) fn credentials(&self) -> Vec<Credential<'_>> {
        let credential = |name, source| Credential { name, source, is_jwt: false };
        match self {
            Self::Token(source) => vec![credential("token", source)],
            Self::Kubernetes(login) | Self::Jwt(login) => {
                vec![Credential { name: "token", source: &login.source, is_jwt: true }]
            }
            Self::AppRole { role_id, secret_id, .. } => vec![
                credential("role id", role_id),
                match secret_id {
                    SecretId::Plain(source) => credential("secret id", source),
                    SecretId::Wrapped(wrapped) => credential("wrapping token", wrapped.source()),
                },
            ],
            Self::Cert { .. } => Vec::new(),
        }
    }

    /// Returns what a login takes of the system.
    pub(super) fn needs(&self) -> Needs {
        let needs = |credential: &Credential<'_>| credential.source.needs();
        self.credentials().iter().map(needs).fold(Needs::default(), Needs::and)
    }

    /// Says what a login uses up, where it does.
    pub(super) fn uses_up(&self) -> Option<&'static str> {
        match self {
            Self::AppRole { secret_id: SecretId::Wrapped(_), .. } => {
                Some("a login uses the wrapping token up")
            }
            _ => None,
        }
    }

    /// Tells whether the server issues a new token at each login, which is then the provider's own to revoke.
    pub(super) fn issues_tokens(&self) -> bool {
        !matches!(self, Self::Token(_))
    }

    /// Tells whether another token may come from it than the last one.
    pub(super) fn can_replace(&self) -> bool {
        !matches!(self, Self::Token(TokenSource::Value(_)))
    }

    /// Names the identity, without a secret.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Token(_) => "token".into(),
            Self::Kubernetes(login) => format!("kubernetes {login}"),
            Self::Jwt(login) => format!("jwt {login}"),
            Self::AppRole { mount, role_id: TokenSource::File(file), .. } => {
                format!("approle {mount} {}", file.display())
            }
            Self::AppRole { mount, role_id: TokenSource::Value(id), .. } => {
                format!("approle {mount} {}", digest(id.expose_secret()))
            }
            Self::AppRole { mount, role_id: TokenSource::Issued(_), .. } => format!("approle {mount}"),
            Self::Cert { mount, role } => format!("cert {mount} {}", role.as_deref().unwrap_or_default()),
        }
    }

    /// Returns the secret id that was unwrapped, with the digest of what it was wrapped in: it cannot be had a second time.
    pub(super) fn unwrapped(&self) -> Option<Unwrapped> {
        match self {
            Self::AppRole { secret_id: SecretId::Wrapped(wrapped), .. } => wrapped.unwrapped(),
            _ => None,
        }
    }

    /// Goes on with a secret id that was unwrapped before.
    pub(super) fn resume(&self, unwrapped: Unwrapped) {
        if let Self::AppRole { secret_id: SecretId::Wrapped(wrapped), .. } = self {
            wrapped.resume(unwrapped);
        }
    }

    /// Logs in: reads the credentials as they are at this moment and exchanges them for a token.
    ///
    /// # Errors
    /// Credentials that cannot be read, or that the server does not take.
    pub(super) async fn log_in(&self, transport: &Transport, clock: &Clock) -> Result<Grant> {
        let (mount, role, call) = match self {
            Self::Token(source) => {
                let token = source.token().await.map_err(|error| {
                    error.with_help(
                        "set VAULT_TOKEN, log in with `bao login` or `vault login`, or configure `auth`",
                    )
                })?;
                return Ok(Grant { token, life: Life::Unknown });
            }
            Self::Kubernetes(JwtLogin { mount, role, source }) => {
                let mut request = LoginWithKubernetesRequest {
                    mount: mount.clone(),
                    role: role.clone().unwrap_or_default(),
                    jwt: text(source).await?,
                };
                let call = login(transport, &request);
                request.jwt.zeroize();
                (mount, role.as_deref(), call?)
            }
            Self::Jwt(JwtLogin { mount, role, source }) => {
                let mut request =
                    JWTLoginRequest { mount: mount.clone(), role: role.clone(), jwt: text(source).await? };
                let call = login(transport, &request);
                request.jwt.zeroize();
                (mount, role.as_deref(), call?)
            }
            Self::AppRole { mount, role_id, secret_id } => {
                let mut request = LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: text(role_id).await?,
                    secret_id: match secret_id {
                        SecretId::Plain(source) => text(source).await?,
                        SecretId::Wrapped(wrapped) => plain(&wrapped.secret_id(transport).await?)?,
                    },
                };
                let call = login(transport, &request);
                request.role_id.zeroize();
                request.secret_id.zeroize();
                (mount, None, call?)
            }
            Self::Cert { mount, role } => {
                let name = role.iter().map(|role| ("name", role)).collect::<BTreeMap<_, _>>();
                let call = login(transport, &Logical::write(format!("auth/{mount}/login"), &name))?;
                (mount, role.as_deref(), call)
            }
        };
        let issued_at = clock.now();
        let answer = transport.send(&call, None).await?;
        if !answer.is_success() {
            return Err(error::login_refused(&answer, mount, role));
        }
        let mut auth = answer.parse::<LoginAnswer>()?.auth;
        Ok(Grant { life: auth.granted(issued_at), token: auth.take_token() })
    }
}

/// The part of an answer that describes a token, at logins and renewals alike.
#[derive(Deserialize)]
pub(super) struct LoginAnswer {
    pub(super) auth: Auth,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Auth {
    /// Returns the life that a login at `at` granted.
    fn granted(&self, at: Timestamp) -> Life {
        Life::granted(at, Duration::from_secs(self.lease_duration), self.renewable)
    }

    /// Returns the life that a renewal of `term` at `at` granted.
    pub(super) fn renewed(&self, term: &Term, at: Timestamp) -> Life {
        Life::Ends(term.renewed(at, Duration::from_secs(self.lease_duration), self.renewable))
    }

    /// Takes the token out.
    pub(super) fn take_token(&mut self) -> SecretValue {
        std::mem::take(&mut self.client_token).into()
    }
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.client_token.zeroize();
    }
}

fn login(transport: &Transport, request: &impl Endpoint) -> Result<Call> {
    transport.call("log in", request)
}

/// Returns the credential as `vaultrs`' requests take it; the caller wipes it.
async fn text(source: &TokenSource) -> Result<String> {
    plain(&source.token().await?)
}

fn plain(credential: &SecretValue) -> Result<String> {
    match credential.expose_text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::config("log in", "the credential is not text")),
    }
}

fn mount(section: &mut Section<'_>, method: &str) -> String {
    let given = section.optional::<String>("mount");
    given.map_or_else(|| method.to_owned(), |mount| mount.trim_matches('/').to_owned())
}

fn parse_source(section: &mut Section<'_>, value: &'static str, file: &'static str) -> Option<TokenSource> {
    match (section.optional::<String>(value), section.optional::<PathBuf>(file)) {
        (Some(text), None) => Some(TokenSource::Value(text.into())),
        (None, Some(path)) => Some(TokenSource::File(path)),
        (given, _) => {
            let both = if given.is_some() { "not both of" } else { "one of" };
            section.mistake(format!("needs {both} `{value}` and `{file}`"));
            None
        }
    }
}

/// Reads where the token of a service account comes from; one without a `default` may be given as it is.
fn account_token(
    section: &mut Section<'_>,
    environment: &Environment,
    issuer: Option<&Arc<dyn TokenIssuer>>,
    default: Option<&str>,
) -> Option<TokenSource> {
    let request = section.section("token_request");
    let takes_file = default.is_some() || request.is_some() || issuer.is_some();
    let file = if takes_file { section.item("token_file") } else { None };
    match (request, file, default) {
        (Some(request), None, _) => requested(request, environment),
        (Some(_), Some(_), _) => {
            section.mistake("needs not both of `token_file` and `token_request`");
            None
        }
        (None, Some(file), _) => file.parse().map(TokenSource::File),
        (None, None, default) => match (issuer, default) {
            (Some(issuer), _) => Some(TokenSource::Issued(Arc::clone(issuer))),
            (None, Some(default)) => Some(TokenSource::File(default.into())),
            (None, None) => parse_source(section, "token", "token_file"),
        },
    }
}

/// Has a token issued at each login.
#[cfg(feature = "kubernetes")]
fn requested(section: Section<'_>, environment: &Environment) -> Option<TokenSource> {
    let request = TokenRequest::parse(section)?;
    Some(TokenSource::Issued(Arc::new(AccountTokens::new(request, environment))))
}

#[cfg(not(feature = "kubernetes"))]
fn requested(section: Section<'_>, _: &Environment) -> Option<TokenSource> {
    section.mistake("needs a program that was built for Kubernetes (the feature `kubernetes`)");
    None
}

/// Where the kubelet puts a pod's own token.
pub(super) const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
