//! Clients with the kinds of providers that this program was built with.

use keywheel_core::Client;
use keywheel_core::Result;
use keywheel_core::client::ClientBuilder;
use keywheel_core::config::{ConfigError, ProviderConfig};
use keywheel_core::environment::Environment;

use crate::registry;

/// Returns a client whose providers are the kinds under their own names, with the settings that their users have in the environment already (`VAULT_ADDR`,
/// `AWS_REGION`, …).
///
/// ```no_run
/// # async fn example() -> keywheel_core::Result<()> {
/// let client = keywheel_providers::client_from_env()?;
/// let password = client.get("vault://secret/orders/db#password").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// A variable that is set and makes no sense. One that is missing is found out when its provider is used.
pub fn client_from_env() -> Result<Client> {
    builder_from(&Environment::of_process())?.build()
}

/// Begins a client whose providers are the kinds under their own names, with the settings in `environment`.
///
/// # Errors
/// As for [`client_from_env`].
pub fn builder_from(environment: &Environment) -> Result<ClientBuilder> {
    let registry = registry();
    registry.names().into_iter().try_fold(Client::builder(), |builder, name| {
        let blueprint = registry.kind(name)?.configure_from(environment)?;
        Ok(builder.provider(name, ProviderConfig::new(blueprint)))
    })
}

/// Reads the settings of a provider from YAML, as they are under its name in `keywheel.yaml`, for
/// [`ClientBuilder::provider`].
///
/// ```
/// use keywheel_core::Client;
///
/// let settings = "{kind: vault, address: https://vault.company.com, auth: {method: kubernetes, role: orders}}";
/// let client = Client::builder().provider("vault", keywheel_providers::provider(settings)?).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Every mistake at once, each with its place.
pub fn provider(settings: &str) -> Result<ProviderConfig, ConfigError> {
    ProviderConfig::parse(settings, &registry(), &Environment::of_process())
}
