//! Replaces the password of a PostgreSQL role, or lets two roles take turns.
//!
//! | Key | Meaning |
//! |---|---|
//! | `address` | `HOST:PORT` |
//! | `database` | the database that the administrator and the readers log in to |
//! | `admin` | a secret with `username` and `password`: a role that may change the roles (`CREATEROLE`, or a superuser) |
//! | `users` | one role, replaced in place; or two, which take turns |
//! | `password` | what a password looks like |
//! | `ca_file` | the authority of the server's certificate, trusted alone; the system's, if left out |
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

use std::path::PathBuf;
use std::sync::Arc;

use keywheel_core::config::{Item, Section, Setting};
use keywheel_core::rotation::{Plan, Strategy, StrategyContext, StrategyKind};
use keywheel_core::{Result, SecretRef};

use self::session::Server;
use self::steps::Postgres;
use super::accounts::{Accounts, PASSWORD, USERNAME, read_admin};

/// The strategy `postgres`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresStrategy;

#[derive(Clone, Debug)]
struct Settings {
    host: String,
    port: u16,
    database: String,
    tls: Tls,
    admin: SecretRef,
    accounts: Accounts,
}

/// Whether the way to the server is encrypted, and whom it has to prove itself to be.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Tls {
    Off,
    Verify { ca_file: Option<PathBuf> },
}

impl StrategyKind for PostgresStrategy {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let address: Option<Address> = settings.required("address");
        let database: Option<String> = settings.required("database");
        let admin = read_admin(&mut settings);
        let accounts = Accounts::read(&mut settings);
        let ca_file = settings.optional("ca_file");
        let switch: Option<Switch> = settings.optional("tls");
        if ca_file.is_some() && switch == Some(Switch::Off) {
            settings.mistake("`ca_file` goes not with `tls: off`");
        }
        settings.finish();
        let Address { host, port } = address?;
        let is_off = switch.map_or(ca_file.is_none() && is_this_host(&host), |switch| switch == Switch::Off);
        let tls = if is_off { Tls::Off } else { Tls::Verify { ca_file } };
        Some(Box::new(Settings { host, port, database: database?, tls, admin: admin?, accounts: accounts? }))
    }
}

impl Plan for Settings {
    fn references(&self) -> Vec<&SecretRef> {
        vec![&self.admin]
    }

    fn fields(&self) -> Vec<&'static str> {
        vec![USERNAME, PASSWORD]
    }

    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>> {
        context.client.validate(&self.admin)?;
        let Self { host, port, database, tls, admin, accounts } = self.clone();
        let server = Server::try_new(host, port, database, &tls)?;
        Ok(Arc::new(Postgres { server, client: context.client, admin, accounts }))
    }
}

struct Address {
    host: String,
    port: u16,
}

impl Setting for Address {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = String::parse(value)?;
        let parts = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Some(Self { host: host.to_owned(), port: port.parse().ok()? })
        });
        parts
            .filter(|address| !address.host.is_empty() && !address.host.contains(['/', '@']))
            .ok_or_else(|| "must be HOST:PORT, such as db.internal:5432".into())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Switch {
    Verify,
    Off,
}

impl Setting for Switch {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        match String::parse(value)?.as_str() {
            "verify" => Ok(Self::Verify),
            // YAML 1.1 reads `off` as a truth value.
            "off" | "false" => Ok(Self::Off),
            _ => Err("must be verify or off".into()),
        }
    }
}

fn is_this_host(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
