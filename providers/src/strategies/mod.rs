//! How credentials are replaced at the systems that they are for: one file or folder, one feature and one registration line each.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod accounts;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "exec")]
pub mod exec;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "random")]
pub mod random;
#[cfg(all(
    feature = "schema",
    any(feature = "exec", feature = "mysql", feature = "postgres", feature = "random", feature = "vault")
))]
mod schema;
#[cfg(feature = "vault")]
pub mod vault_approle_secret_id;
#[cfg(feature = "vault")]
pub mod vault_database;
#[cfg(feature = "vault")]
pub mod vault_transit_key;
