//! Vault and OpenBao: the same API, one provider.
//!
//! ```text
//! Settings -> Session (one token for all) -> Transport (one HTTP client)
//!                 ^ login, life                  ^ budget, time-out, bounds
//! SecretRef -> Mounts (which engine?) -> kv -> Secret
//! ```
//!
//! What to ask comes from `vaultrs`' request types; where and how is [`transport`]'s. A status becomes an error in one place, [`error`].

mod endpoint;
mod error;
mod kv;
mod life;
mod login;
mod mount;
mod provider;
mod session;
mod settings;
mod tls;
mod transport;
mod written;

use std::sync::Arc;

use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::registry::{Blueprint, Context, Kind};
use keywheel_core::{Provider, Result};

use self::provider::VaultProvider;
use self::settings::Settings;

/// The kind `vault`, also called `bao`.
#[derive(Clone, Debug)]
pub struct VaultKind {
    environment: Environment,
}

impl VaultKind {
    /// Makes the kind; a configuration without `auth` takes the token that the `vault` command would take in `environment`.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }
}

impl Default for VaultKind {
    /// Makes the kind with this process's environment.
    fn default() -> Self {
        Self::new(Environment::of_process())
    }
}

impl Kind for VaultKind {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["bao"]
    }

    fn configure(&self, section: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        let settings = Settings::parse(section, &self.environment)?;
        Some(Box::new(VaultBlueprint(Arc::new(settings))))
    }

    fn configure_from(&self, environment: &Environment) -> Result<Box<dyn Blueprint>> {
        let settings = Settings::from_environment(environment)?;
        Ok(Box::new(VaultBlueprint(Arc::new(settings))))
    }
}

#[derive(Debug)]
struct VaultBlueprint(Arc<Settings>);

impl Blueprint for VaultBlueprint {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(VaultProvider::try_new(&self.0, context)?))
    }
}
