//! What the tests of the `aws` providers share.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

#[path = "../log/mod.rs"]
mod log;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::config::{Config, ConfigError};
use keywheel_core::environment::Environment;
use keywheel_core::layer::{Budget, BudgetLimits};
use keywheel_core::registry::{Context, Registry};
use keywheel_core::{Clock, Provider, Secret, SecretRef};
use keywheel_providers::aws::AwsKind;
use keywheel_tests::Cloud;
use tokio::task::JoinHandle;

pub(crate) use self::log::Log;
pub(crate) use keywheel_tests::wait::until_async as until;

/// A [`Cloud`], and providers that ask it.
pub(crate) struct Stage(Cloud);

impl Deref for Stage {
    type Target = Cloud;

    fn deref(&self) -> &Cloud {
        &self.0
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self(Cloud::start())
    }

    /// Returns the lines of `auth` for the agent.
    pub(crate) fn pod_identity(&self) -> String {
        format!("  {}\n", self.0.pod_identity())
    }

    /// Makes a provider that asks through the proxy, with more settings (indented by two).
    pub(crate) fn provider(&self, more: &str) -> Arc<dyn Provider> {
        self.provider_with(more, context())
    }

    /// As [`Stage::provider`], built with `context`.
    pub(crate) fn provider_with(&self, more: &str, context: Context) -> Arc<dyn Provider> {
        let auth = if more.contains("auth:") { String::new() } else { self.pod_identity() };
        let endpoint = self.faults.address();
        let settings = format!(
            "  region: eu-west-1\n  endpoint_url: {endpoint}\n  sts_endpoint_url: {endpoint}\n{auth}{more}"
        );
        configured_with(&settings, &[], context)
    }
}

/// Makes a provider from the settings of one under `providers:`, indented by two, and from variables.
pub(crate) fn configured_with(
    settings: &str,
    variables: &[(&str, &str)],
    context: Context,
) -> Arc<dyn Provider> {
    parse(settings, variables).unwrap().providers["aws"].blueprint.build(context).unwrap()
}

/// Parses the settings of a provider named `aws`.
pub(crate) fn parse(settings: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment: Environment = variables.iter().copied().collect();
    let registry = Registry::default().with(AwsKind::new(environment));
    let text = format!("providers:\n aws:\n  kind: aws\n{settings}");
    Config::parse(Path::new("keywheel.yaml"), &text, &registry, &Environment::default())
}

/// Returns what a provider is built with.
pub(crate) fn context() -> Context {
    context_with(BudgetLimits::default(), Duration::from_secs(5))
}

/// Returns what a provider with this budget and time-out is built with.
pub(crate) fn context_with(limits: BudgetLimits, timeout: Duration) -> Context {
    let clock = Clock::system();
    Context {
        name: "aws".into(),
        budget: Arc::new(Budget::new(limits, clock.clone())),
        clock,
        timeout,
        slot: keywheel_core::State::in_memory().slot("session", "test"),
    }
}

/// Keeps the credentials of `aws` fresh, as an engine does.
pub(crate) fn maintained(aws: &Arc<dyn Provider>) -> JoinHandle<()> {
    let aws = Arc::clone(aws);
    tokio::spawn(async move { aws.maintain().await })
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
