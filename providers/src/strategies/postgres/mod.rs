//! Replaces the password of a PostgreSQL role, or lets two roles take turns.
//!
//! | Key | Meaning |
//! |---|---|
//! | `address` | `HOST:PORT` |
//! | `database` | the database that the administrator and the readers log in to |
//! | `admin` | a secret with `username` and `password`: a role that may change the roles (`CREATEROLE`, or a superuser) |
//! | `users` | one role, replaced in place; or two, which take turns |
//! | `password` | what a password looks like |
//! | `ca_file`, or `ca_pem` | the authority of the server's certificate, trusted alone: a file, or the certificate itself; the system's, if left out |
//! | `tls` | `verify`, or `off`; if left out, `off` on this host alone |
//!
//! With two roles, the one that nobody has at the moment gets a new password, and what the other one was granted. It is published; the other one
//! is locked (`NOLOGIN`, no password) when the overlap is over. With one role there is a moment between its new password and the publication at
//! which what readers have is refused: take two where that matters.
//!
//! In an emergency the sessions of the old role are ended, too, for which the administrator needs `pg_signal_backend`.
//!
//! The server gets a SCRAM-SHA-256 verifier and never a password in a statement, so that none is in its log (<https://www.postgresql.org/docs/current/sql-alterrole.html>).

mod grants;
mod session;
mod sql;
mod steps;
mod tls;

use std::path::Path;
use std::sync::Arc;

use keywheel_core::config::Section;
use keywheel_core::rotation::{Plan, Strategy, StrategyContext, StrategyKind};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Result, SecretRef};

use self::session::Server;
use self::steps::Postgres;
use super::accounts::{Accounts, PASSWORD, USERNAME, read_admin};
use super::place::Place;

/// The strategy `postgres`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresStrategy;

#[derive(Clone, Debug)]
struct Settings {
    place: Place,
    database: String,
    admin: SecretRef,
    accounts: Accounts,
}

impl StrategyKind for PostgresStrategy {
    fn name(&self) -> &'static str {
        "postgres"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::Postgres::json_schema(generator)
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let place = Place::read(&mut settings);
        let database: Option<String> = settings.required("database");
        let admin = read_admin(&mut settings);
        let accounts = Accounts::read(&mut settings);
        settings.finish();
        Some(Box::new(Settings { place: place?, database: database?, admin: admin?, accounts: accounts? }))
    }
}

impl Plan for Settings {
    fn references(&self) -> Vec<&SecretRef> {
        vec![&self.admin]
    }

    fn files(&self) -> Vec<&Path> {
        self.place.file().into_iter().collect()
    }

    fn fields(&self) -> Vec<&'static str> {
        vec![USERNAME, PASSWORD]
    }

    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>> {
        context.client.validate(&self.admin)?;
        let Self { place, database, admin, accounts } = self.clone();
        let server = Server::try_new(place, database)?;
        Ok(Arc::new(Postgres { server, client: context.client, admin, accounts }))
    }
}
