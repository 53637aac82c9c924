//! What the tests of the `vault` provider share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

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
use keywheel_tests::OpenBao;

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
    let config = parse(settings).unwrap();
    config.providers["vault"].blueprint.build(context()).unwrap()
}

/// Parses the settings of a provider named `vault`.
pub(crate) fn parse(settings: &str) -> Result<Config, ConfigError> {
    let registry = Registry::default().with(VaultKind::new(Environment::default()));
    let text = format!("providers:\n vault:\n  kind: vault\n{settings}");
    Config::parse(Path::new("keywheel.yaml"), &text, &registry, &Environment::default())
}

/// Makes a provider for `bao` that logs in as the lines of `auth` say, indented by three.
pub(crate) fn logging_in(bao: &OpenBao, auth: &str) -> Arc<dyn Provider> {
    let (address, ca_file) = (bao.address(), bao.ca_file());
    configured(&format!("  address: {address}\n  ca_file: {}\n  auth:\n{auth}", ca_file.display()))
}

/// Makes a provider for `bao` that logs in as the lines of `auth` say, built with `context`.
pub(crate) fn logging_in_with(bao: &OpenBao, auth: &str, context: Context) -> Arc<dyn Provider> {
    let (address, ca_file) = (bao.address(), bao.ca_file());
    let config = parse(&format!("  address: {address}\n  ca_file: {}\n  auth:\n{auth}", ca_file.display()));
    config.unwrap().providers["vault"].blueprint.build(context).unwrap()
}

/// Returns the lease of a secret that has one.
pub(crate) fn lease(secret: &Secret) -> Lease {
    secret.upkeep.lease().unwrap_or_else(|| panic!("no lease: {:?}", secret.upkeep)).clone()
}

/// Returns what tends to the leases of `vault`.
pub(crate) fn leases(vault: &Arc<dyn Provider>) -> &dyn Leases {
    vault.leases().unwrap()
}

/// Waits until `probe` returns a value, without holding up the runtime.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let bound = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < bound, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
