//! Vault and OpenBao: the same API, one provider.
//!
//! ```text
//! Settings -> Session (one token for all) -> Transport (one HTTP client)
//!                 ^ login, life, gate            ^ budget, time-out, bounds
//! SecretRef -> Target -> Mounts (which engine?) -> kv | logical -> Secret
//!                     -> wrapped                                -> Secret
//! Lease -> leases (renew, look up, revoke)
//! ```
//!
//! What to ask comes from `vaultrs`' request types; where and how is `transport`'s. A status becomes an error in one place, `error`.
//!
//! # Settings
//!
//! | Key | Meaning |
//! |---|---|
//! | `address` | `https://HOST[:PORT][/PREFIX]`; `http://` sends everything in the clear |
//! | `namespace` | the namespace that all paths are below |
//! | `ca_file` | the authorities to trust, and no others; the system's, if left out |
//! | `ca_pem` | the same certificates themselves, in place of a file |
//! | `client_cert_file`, `client_key_file` | what to present to a server that wants a certificate |
//! | `server_name` | the name that the server's certificate has, where it is not the address's host |
//! | `auth` | who to be; if left out, the token that the `vault` and `bao` commands would take |
//!
//! Under `auth`, `method` is one of:
//!
//! | Method | Keys |
//! |---|---|
//! | `kubernetes` | `role`; `mount` (`kubernetes`), `token_file` (the pod's own) |
//! | `jwt` | `token_file` or `token`; `role`, `mount` (`jwt`) |
//! | `approle` | `role_id` or `role_id_file`, `secret_id` or `secret_id_file`; `mount` (`approle`); with `secret_id_response_wrapping_path`, the secret id is behind a wrapping token that a request to that path made |
//! | `cert` | `role`; `mount` (`cert`); presents the provider's client certificate |
//! | `token` (default) | `token` or `token_file` |
//!
//! In place of `token_file`, `kubernetes` and `jwt` take `token_request`: `service_account`, `namespace` (the pod's), `audience` (`vault`) and `expiration`
//! (`10m`). The cluster is asked for such a token at every login, with the pod's own service account, which needs the verb `create` on
//! `serviceaccounts/token` of that name.
//!
//! Files are read again at every login. From the environment: `VAULT_ADDR`, `VAULT_TOKEN` (else `~/.vault-token`), `VAULT_NAMESPACE`,
//! `VAULT_CACERT`, `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY`, `VAULT_TLS_SERVER_NAME` and `VAULT_CLIENT_TIMEOUT`, each also as `BAO_…`,
//! which wins. `VAULT_SKIP_VERIFY` is refused.
//!
//! # References
//!
//! A path of KV is read as such; `kv` and `version` are for it alone. Any other path is a read, or, with parameters, a write that takes what is
//! answered; a mount that stores what is written is not written to. What comes of it is told from the answer:
//!
//! | The answer has | The secret is |
//! |---|---|
//! | a lease | kept by its lease |
//! | `ttl` and `last_vault_rotation` (a static role) | polled, and watched closely when it is due to turn; its version is that of the credential alone |
//! | `expiration`, or a `ttl` beside a `token`; or the reference has a `ttl` | replaced before that is over |
//! | nothing of these | polled; if it was written, kept as it is |
//!
//! With `wrapped=FILE` alone, the secret is behind the wrapping token in that file.
//!
//! # Rotation
//!
//! KV of both versions is a store of rotations; the record of a rotation of `MOUNT/PATH` is at `MOUNT/keywheel/rotation/PATH`. With version 2 both are
//! written by check-and-set. Version 1 has no such thing: what is there is looked at before it is written, and two rotators at the same moment
//! could both believe that they are alone.
//!
//! Replicas say at `MOUNT/keywheel/acknowledged/PATH` which version they use; with version 2 alone, whose versions readers and rotators see alike.
//!
//! Where the engine replaces what it keeps (static roles, transit keys), it is asked by a write to the operation's path; a mount that stores what is written
//! is asked for nothing. A write to `auth/…/login` tries a login as nobody, and gives its token back at once.
//!
//! # Requests
//!
//! The first read of a mount asks which engine serves it, once for all. A read is one request. A poll of KV version 2 is one request for all secrets of a
//! folder that are asked for together, where the server lists versions, and one for each that changed; else it is one request for the
//! version, or the value (KV v1, or where the policy does not allow metadata). A reference with `?version=` is never polled.

mod claims;
mod endpoint;
mod error;
mod examine;
mod invoke;
mod kv;
mod leases;
mod life;
mod logical;
mod login;
mod mount;
mod provider;
#[cfg(feature = "schema")]
mod schema;
mod session;
mod settings;
mod store;
mod survey;
mod target;
mod transport;
mod wrapped;
mod wrapping;
mod written;

use std::sync::Arc;

use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::identity::TokenIssuer;
use keywheel_core::needs::Needs;
use keywheel_core::registry::{Blueprint, Context, Kind};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Provider, Result, SecretRef};

use self::provider::VaultProvider;
use self::settings::Settings;

/// The kind `vault`, also called `bao`.
#[derive(Clone, Debug)]
pub struct VaultKind {
    environment: Environment,
    issuer: Option<Arc<dyn TokenIssuer>>,
}

impl VaultKind {
    /// Makes the kind; a configuration without `auth` takes the token that the `vault` command would take in `environment`.
    pub fn new(environment: Environment) -> Self {
        Self { environment, issuer: None }
    }

    /// Has the methods `kubernetes` and `jwt` ask `issuer` for a token at every login, where none is named.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Arc<dyn TokenIssuer>) -> Self {
        self.issuer = Some(issuer);
        self
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

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        schema::Vault::json_schema(generator)
    }

    fn configure(&self, section: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        let settings = Settings::parse(section, &self.environment, self.issuer.as_ref())?;
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

    fn needs(&self, references: &[&SecretRef]) -> Needs {
        let wrapped = |reference: &&SecretRef| reference.parameters().get("wrapped").cloned();
        self.0.needs().with_files(references.iter().filter_map(wrapped))
    }
}
