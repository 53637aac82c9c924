//! What the tests of the `vault` provider share.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

#[path = "../log/mod.rs"]
mod log;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::config::{Config, ConfigError};
use keywheel_core::environment::Environment;
use keywheel_core::layer::{Budget, BudgetLimits};
use keywheel_core::lease::Lease;
use keywheel_core::provider::Leases;
use keywheel_core::registry::{Context, Kind, Registry};
use keywheel_core::{Clock, Provider, Secret, SecretRef};
use keywheel_providers::vault::VaultKind;
use keywheel_tests::http::Method;
use keywheel_tests::openbao::Mark;
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use keywheel_tests::{OpenBao, Postgres};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(crate) use self::log::Log;
pub(crate) use keywheel_tests::wait::until_async as until;

/// Makes a provider for `bao` as the environment of its users would, with more variables.
pub(crate) fn provider(bao: &OpenBao, variables: &[(&str, &str)]) -> Arc<dyn Provider> {
    let ca_file = bao.ca_file();
    let address = bao.address();
    let all = [("VAULT_ADDR", address.as_str()), ("VAULT_CACERT", ca_file.to_str().unwrap())];
    from_environment(all.iter().chain(variables).copied())
}

/// Makes a provider from variables alone.
pub(crate) fn from_environment<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Arc<dyn Provider> {
    let environment: Environment = variables.into_iter().collect();
    VaultKind::new(Environment::default()).configure_from(&environment).unwrap().build(context()).unwrap()
}

/// Makes a provider from the settings of one under `providers:`, indented by two.
pub(crate) fn configured(settings: &str) -> Arc<dyn Provider> {
    configured_with(settings, context())
}

/// Makes a provider from settings as [`configured`] does, built with `context`.
pub(crate) fn configured_with(settings: &str, context: Context) -> Arc<dyn Provider> {
    let config = parse(settings).unwrap();
    config.providers["vault"].blueprint.build(context).unwrap()
}

/// Parses the settings of a provider named `vault`.
pub(crate) fn parse(settings: &str) -> Result<Config, ConfigError> {
    let registry = Registry::default().with(VaultKind::new(Environment::default()));
    let text = format!("providers:\n vault:\n  kind: vault\n{settings}");
    Config::parse(Path::new("keywheel.yaml"), &text, &registry, &Environment::default())
}

/// Makes a provider for `bao` that logs in as the lines of `auth` say, indented by three.
pub(crate) fn logging_in(bao: &OpenBao, auth: &str) -> Arc<dyn Provider> {
    logging_in_with(bao, auth, context())
}

/// Makes a provider for `bao` that logs in as the lines of `auth` say, built with `context`.
pub(crate) fn logging_in_with(bao: &OpenBao, auth: &str, context: Context) -> Arc<dyn Provider> {
    let (address, ca_file) = (bao.address(), bao.ca_file());
    let settings = format!("  address: {address}\n  ca_file: {}\n  auth:\n{auth}", ca_file.display());
    configured_with(&settings, context)
}

/// Returns the lease of a secret that has one.
pub(crate) fn lease(secret: &Secret) -> Lease {
    secret.upkeep.lease().unwrap_or_else(|| panic!("no lease: {:?}", secret.upkeep)).clone()
}

/// Returns what tends to the leases of `vault`.
pub(crate) fn leases(vault: &Arc<dyn Provider>) -> &dyn Leases {
    vault.leases().unwrap()
}

/// A server with the secret `secret/a`, short-lived accounts of a database (`database/creds/app`, for ten minutes and at most an hour),
/// and a jwt login for one account.
pub(crate) struct Accounts {
    pub(crate) bao: OpenBao,
    pub(crate) postgres: Postgres,
    pub(crate) issuer: Issuer,
    pub(crate) account: ServiceAccount,
}

impl Accounts {
    /// Starts the servers; `token` holds the parameters of what the login issues.
    pub(crate) fn new(token: &Value) -> Self {
        let (bao, postgres) = (OpenBao::start(), Postgres::start());
        bao.kv_put("secret", "a", &json!({"x": "one"}));
        bao.enable_database(&postgres);
        bao.dynamic_role("app", Duration::from_secs(600), Duration::from_secs(3600));
        bao.policy("app", APP);
        let (issuer, account) = (Issuer::generate(), ServiceAccount::new("shop", "orders"));
        bao.enable_jwt("jwt", &issuer);
        let stage = Self { bao, postgres, issuer, account };
        stage.role("orders", token);
        stage
    }

    /// Makes or changes a role; what its login issues may do what the secrets need, and what `token` says.
    pub(crate) fn role(&self, name: &str, token: &Value) {
        let mut body = json!({"token_policies": ["app"]});
        body.as_object_mut().unwrap().extend(token.as_object().unwrap().clone());
        self.bao.jwt_role("jwt", name, &self.account, &body);
    }

    /// Returns the lines of `auth` for the role.
    pub(crate) fn auth(&self, role: &str) -> String {
        format!("   method: jwt\n   role: {role}\n   token: {}\n", self.issuer.token(&self.account, 0..600))
    }

    pub(crate) fn provider(&self) -> Arc<dyn Provider> {
        logging_in(&self.bao, &self.auth("orders"))
    }

    /// Has a new account made, and returns it with its lease.
    pub(crate) async fn mint(&self, vault: &Arc<dyn Provider>) -> (Secret, Lease) {
        let secret = vault.read(&reference("vault://database/creds/app")).await.unwrap();
        let lease = lease(&secret);
        (secret, lease)
    }

    /// Tells whether an account can log in.
    pub(crate) fn works(&self, account: &Secret) -> bool {
        let (user, password) = (expose(account, "username"), expose(account, "password"));
        self.postgres.login(&user, &password, Duration::from_secs(10)).is_ok()
    }

    /// Returns the accessor of the token that `vault` uses: by what the server sees of a read.
    pub(crate) async fn accessor(&self, vault: &Arc<dyn Provider>) -> String {
        let mark = self.bao.mark();
        vault.read(&reference("vault://secret/a?kv=2")).await.unwrap();
        let seen = self.bao.requests_since(mark);
        let read = seen.iter().rev().find(|seen| seen.path == "secret/data/a");
        read.and_then(|read| read.accessor.clone()).unwrap_or_else(|| panic!("no token: {seen:?}"))
    }

    /// Tells whether a token lives.
    pub(crate) fn lives(&self, accessor: &str) -> bool {
        let body = json!({"accessor": accessor});
        self.bao.send(Method::POST, "auth/token/lookup-accessor", Some(&body)).status == 200
    }

    /// Counts the logins since `mark`.
    pub(crate) fn logins(&self, mark: Mark) -> usize {
        self.bao.count_since(mark, "auth/jwt/login")
    }
}

const APP: &str = r#"
path "secret/data/a" { capabilities = ["read"] }
path "secret/metadata/a" { capabilities = ["read"] }
path "database/creds/app" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;

/// Keeps the session of `vault` alive, as an engine does.
pub(crate) fn maintained(vault: &Arc<dyn Provider>) -> JoinHandle<()> {
    let vault = Arc::clone(vault);
    tokio::spawn(async move { vault.maintain().await })
}

/// Returns what a provider is built with.
pub(crate) fn context() -> Context {
    let clock = Clock::system();
    Context {
        name: "vault".into(),
        budget: Arc::new(Budget::new(BudgetLimits::default(), clock.clone())),
        clock,
        timeout: Duration::from_secs(5),
        slot: keywheel_core::State::in_memory().slot("session", "test"),
    }
}

/// Parses a reference.
pub(crate) fn reference(text: &str) -> SecretRef {
    text.parse().unwrap()
}

/// Returns a field's text.
pub(crate) fn expose(secret: &Secret, field: &str) -> String {
    let value = secret.field(&field.parse().unwrap()).unwrap().to_bytes().unwrap();
    value.expose_text().unwrap().to_owned()
}
