//! The places that Keywheel reads secrets from, and the [`strategies`] by which credentials are replaced: one file or folder, one feature and one
//! registration line each. Beside them, the [`adapters`] that hand a secret to another library.

pub mod adapters;
#[cfg(any(feature = "aws", feature = "mysql", feature = "postgres", feature = "vault"))]
mod authorities;
#[cfg(feature = "aws")]
pub mod aws;
mod client;
#[cfg(feature = "env")]
pub mod env;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(feature = "aws", feature = "vault"))]
mod https;
#[cfg(feature = "keys")]
pub mod keys;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod strategies;
#[cfg(feature = "vault")]
pub mod vault;

pub use self::client::{builder_from, client_from_env, provider};
use keywheel_core::notify::Cluster;
use keywheel_core::registry::Registry;

/// Returns the kinds of providers and of strategies that this program was built with.
pub fn registry() -> Registry {
    let kinds = Registry::default();
    #[cfg(feature = "aws")]
    let kinds = kinds.with(aws::AwsKind::default());
    #[cfg(feature = "aws-ssm")]
    let kinds = kinds.with(aws::ssm::SsmKind::default());
    #[cfg(feature = "env")]
    let kinds = kinds.with(env::EnvKind::default());
    #[cfg(feature = "file")]
    let kinds = kinds.with(file::FileKind);
    #[cfg(feature = "vault")]
    let kinds = kinds.with(vault::VaultKind::default());
    #[cfg(feature = "aws")]
    let kinds = kinds.with_strategy(strategies::aws::AwsStrategy);
    #[cfg(feature = "exec")]
    let kinds = kinds.with_strategy(strategies::exec::ExecStrategy);
    #[cfg(feature = "mysql")]
    let kinds = kinds.with_strategy(strategies::mysql::MysqlStrategy);
    #[cfg(feature = "postgres")]
    let kinds = kinds.with_strategy(strategies::postgres::PostgresStrategy);
    #[cfg(feature = "random")]
    let kinds = kinds.with_strategy(strategies::random::RandomStrategy);
    #[cfg(feature = "vault")]
    let kinds = kinds
        .with_strategy(strategies::vault_approle_secret_id::VaultAppRoleSecretIdStrategy)
        .with_strategy(strategies::vault_database::VaultDatabaseStrategy)
        .with_strategy(strategies::vault_transit_key::VaultTransitKeyStrategy);
    kinds
}

/// Returns the cluster that this program runs in, where it was built for one.
pub fn cluster() -> Option<Cluster> {
    #[cfg(feature = "kubernetes")]
    let cluster = Some(Cluster::new(kubernetes::Pod::default()));
    #[cfg(not(feature = "kubernetes"))]
    let cluster = None;
    cluster
}
