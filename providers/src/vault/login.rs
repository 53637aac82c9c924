//! The ways to log in, and the token that each of them yields.

use std::path::PathBuf;
use std::time::Duration;

use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::identity::TokenSource;
use keywheel_core::{Clock, Error, Result, SecretValue};
use rustify::endpoint::Endpoint;
use serde::Deserialize;
use tokio::time::Instant;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use zeroize::Zeroize;

use super::error;
use super::life::{Life, Term};
use super::transport::{Call, Transport};

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
    AppRole { mount: String, role_id: TokenSource, secret_id: TokenSource },
}

#[derive(Debug)]
pub(super) struct JwtLogin {
    mount: String,
    role: Option<String>,
    source: TokenSource,
}

/// What a login yields.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) token: SecretValue,
    pub(super) life: Life,
}

impl Method {
    /// Reads the section `auth`; mistakes go to it.
    pub(super) fn parse(mut section: Section<'_>) -> Option<Self> {
        let name = section.item("method");
        let method = match name.as_ref().map(|item| item.parse::<String>()) {
            None => Some("token".to_owned()),
            Some(name) => name,
        };
        let parsed = match method?.as_str() {
            "token" => parse_source(&mut section, "token", "token_file").map(Self::Token),
            "kubernetes" => {
                let source = section.optional("token_file").unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.into());
                let role = section.required("role");
                let mount = mount(&mut section, "kubernetes");
                role.map(|role| {
                    Self::Kubernetes(JwtLogin { mount, role: Some(role), source: TokenSource::File(source) })
                })
            }
            "jwt" => {
                let source = parse_source(&mut section, "token", "token_file");
                let role = section.optional("role");
                let mount = mount(&mut section, "jwt");
                source.map(|source| Self::Jwt(JwtLogin { mount, role, source }))
            }
            "approle" => {
                let role_id = parse_source(&mut section, "role_id", "role_id_file");
                let secret_id = parse_source(&mut section, "secret_id", "secret_id_file");
                let mount = mount(&mut section, "approle");
                role_id.zip(secret_id).map(|(role_id, secret_id)| Self::AppRole { mount, role_id, secret_id })
            }
            _ => {
                if let Some(name) = name {
                    name.mistake("must be kubernetes, jwt, approle or token");
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

    /// Tells whether the server issues a new token at each login, which is then the provider's own to revoke.
    pub(super) fn issues_tokens(&self) -> bool {
        !matches!(self, Self::Token(_))
    }

    /// Tells whether another token may come from it than the last one.
    pub(super) fn can_replace(&self) -> bool {
        !matches!(self, Self::Token(TokenSource::Value(_)))
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
                    secret_id: text(secret_id).await?,
                };
                let call = login(transport, &request);
                request.role_id.zeroize();
                request.secret_id.zeroize();
                (mount, None, call?)
            }
        };
        let issued_at = clock.instant();
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
    fn granted(&self, at: Instant) -> Life {
        Life::granted(at, Duration::from_secs(self.lease_duration), self.renewable)
    }

    /// Returns the life that a renewal of `term` at `at` granted.
    pub(super) fn renewed(&self, term: &Term, at: Instant) -> Life {
        term.renewed(at, Duration::from_secs(self.lease_duration), self.renewable)
    }

    /// Takes the token out.
    fn take_token(&mut self) -> SecretValue {
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
    let token = source.token().await?;
    match token.expose_text() {
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

/// Where the kubelet puts a pod's own token.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
