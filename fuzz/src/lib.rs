//! What the targets have in common.

use std::future::Future;

use keywheel_core::client::Client;
use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_core::registry::Registry;
use keywheel_core::{Clock, State};
use keywheel_providers::aws::AwsKind;
use keywheel_providers::env::EnvKind;
use keywheel_providers::file::FileKind;
use keywheel_providers::strategies::vault_database::VaultDatabaseStrategy;
use keywheel_providers::strategies::vault_transit_key::VaultTransitKeyStrategy;
use keywheel_providers::vault::VaultKind;

/// Returns the kinds of providers, with nothing of this process's environment.
pub fn kinds() -> Registry {
    let environment = Environment::default();
    let kinds = Registry::default().with(AwsKind::new(environment.clone()));
    kinds
        .with(EnvKind::default())
        .with(FileKind)
        .with(VaultKind::new(environment))
        .with_strategy(VaultDatabaseStrategy)
        .with_strategy(VaultTransitKeyStrategy)
}

/// Parses a configuration.
pub fn parse(text: &str) -> Result<Config, String> {
    let environment: Environment = [("NAME", "value"), ("EMPTY", "")].into_iter().collect();
    Config::parse("/nowhere/keywheel.yaml".as_ref(), text, &kinds(), &environment)
        .map_err(|error| error.to_string())
}

/// Builds the providers of a configuration that is known to be good.
pub fn client(config: &Config) -> Client {
    Client::build(&config.providers, &Clock::system(), &State::in_memory()).expect("providers")
}

/// Runs a future to its end. Its waits take no time.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}
