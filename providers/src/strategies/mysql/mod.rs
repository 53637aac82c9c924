//! Replaces the password of an account of MariaDB or MySQL, or lets two accounts take turns.
//!
//! | Key | Meaning |
//! |---|---|
//! | `address` | `HOST:PORT` |
//! | `database` | the database that the administrator and the readers log in to; none, if left out |
//! | `admin` | a secret with `username` and `password`: an account that may change the accounts (`CREATE USER`, `SELECT` on `mysql.*`; with two users what the application was granted, `WITH GRANT OPTION`; for emergencies `PROCESS` and the right to end connections) |
//! | `users` | one account, replaced in place; or two, which take turns |
//! | `user_host` | the host part of the accounts; `%`, if left out |
//! | `password` | what a password looks like |
//! | `ca_file`, or `ca_pem` | the authority of the server's certificate, trusted alone: a file, or the certificate itself; the system's, if left out |
//! | `tls` | `verify`, or `off`; if left out, `off` on this host alone |
//!
//! With two accounts, the one that nobody has at the moment gets a new password, and what the other one was granted: privileges, roles, default
//! roles. It is published; the other one is locked, with a password that nobody knows, when the overlap is over. With one account the server takes
//! the old password beside the new one until then. Both need MariaDB 10.4 or MySQL 8.0.14; a server that is older is refused.
//!
//! MariaDB gets hashes (`mysql_native_password`) and never a password in a statement, so that none is in its log; accounts that log in by other
//! means are refused. MySQL gets passwords in statements, since it makes its own hashes, and leaves them out of its logs
//! (<https://dev.mysql.com/doc/refman/8.4/en/password-logging.html>); where it keeps a password history, that has to allow the old one again.

mod grants;
mod product;
mod refusal;
mod session;
mod sql;
mod steps;

use std::path::Path;
use std::sync::Arc;

use keywheel_core::config::Section;
use keywheel_core::rotation::{Plan, Strategy, StrategyContext, StrategyKind};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Result, SecretRef};

use self::session::Server;
use self::steps::Mysql;
use super::accounts::{Accounts, PASSWORD, USERNAME, read_admin};
use super::place::Place;

/// The strategy `mysql`, alias `mariadb`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MysqlStrategy;

#[derive(Clone, Debug)]
struct Settings {
    place: Place,
    database: Option<String>,
    admin: SecretRef,
    accounts: Accounts,
    user_host: String,
}

impl StrategyKind for MysqlStrategy {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["mariadb"]
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::Mysql::json_schema(generator)
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let place = Place::read(&mut settings);
        let database = settings.optional("database");
        let admin = read_admin(&mut settings);
        let accounts = Accounts::read(&mut settings);
        let user_host: String = settings.optional("user_host").unwrap_or_else(|| "%".to_owned());
        if user_host.is_empty() || user_host.chars().any(char::is_control) {
            settings.mistake("`user_host` is the host part of the accounts, such as 10.% or localhost");
        }
        settings.finish();
        Some(Box::new(Settings { place: place?, database, admin: admin?, accounts: accounts?, user_host }))
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
        let Self { place, database, admin, accounts, user_host } = self.clone();
        let server = Server::try_new(place, database)?;
        Ok(Arc::new(Mysql { server, client: context.client, admin, accounts, user_host }))
    }
}
