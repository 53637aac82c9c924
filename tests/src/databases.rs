//! Databases with an account that is rotated: `orders_a`, whose password is `first`, and which may read and write a table.

use std::fmt;
use std::time::Duration;

use crate::{MariaDb, Postgres};

/// A server whose accounts `orders_a` and `orders_b` are replaced by the account `rotator`, with the password `rotator`.
pub trait Database: fmt::Debug + Send + Sync + 'static {
    /// Starts it.
    fn set() -> Self;

    /// Returns `127.0.0.1:PORT`.
    fn address(&self) -> String;

    /// Returns the strategy of a configuration that reaches the server at `address`.
    fn strategy(address: &str) -> String;

    /// Opens a connection and closes it.
    ///
    /// # Errors
    ///
    /// Why not, as the server said it, or that `bound` has passed.
    fn login(&self, user: &str, password: &str, bound: Duration) -> Result<(), String>;

    /// Lets the account `rotator` replace accounts, or not.
    fn let_rotate(&self, may: bool);

    /// Returns the accounts that let somebody in, each as often as it has passwords, in order.
    fn open_accounts(&self) -> Vec<String>;
}

impl Database for Postgres {
    fn set() -> Self {
        let postgres = Self::start();
        postgres.execute(
            "CREATE TABLE orders (id int); CREATE ROLE orders_a LOGIN PASSWORD 'first'; GRANT SELECT, INSERT ON orders TO orders_a;
             CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'rotator'; GRANT pg_signal_backend TO rotator; GRANT SELECT, INSERT ON orders TO rotator WITH GRANT OPTION;",
        );
        postgres
    }

    fn address(&self) -> String {
        self.address()
    }

    fn strategy(address: &str) -> String {
        format!(
            r#"
      postgres:
        address: "{address}"
        database: postgres
        admin: vault://secret/platform/db-admin
        users: [orders_a, orders_b]"#
        )
    }

    fn login(&self, user: &str, password: &str, bound: Duration) -> Result<(), String> {
        self.login(user, password, bound)
    }

    fn let_rotate(&self, may: bool) {
        let right = if may { "CREATEROLE" } else { "NOCREATEROLE" };
        self.execute(&format!("ALTER ROLE rotator {right}"));
    }

    fn open_accounts(&self) -> Vec<String> {
        let sql = "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL AND rolname LIKE 'orders%' ORDER BY 1";
        self.query(sql).into_iter().flatten().collect()
    }
}

impl Database for MariaDb {
    fn set() -> Self {
        let maria = Self::start();
        for statement in [
            "CREATE DATABASE orders",
            "CREATE TABLE orders.items (id INT)",
            "CREATE USER orders_a@'%' IDENTIFIED BY 'first'",
            "GRANT SELECT, INSERT ON orders.items TO orders_a@'%'",
            "CREATE USER rotator@'%' IDENTIFIED BY 'rotator'",
            "GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO rotator@'%'",
            "GRANT SELECT ON mysql.* TO rotator@'%'",
            "GRANT SELECT, INSERT ON orders.items TO rotator@'%' WITH GRANT OPTION",
        ] {
            maria.execute(statement);
        }
        maria
    }

    fn address(&self) -> String {
        self.address()
    }

    fn strategy(address: &str) -> String {
        format!(
            r#"
      mysql:
        address: "{address}"
        admin: vault://secret/platform/db-admin
        users: [orders_a, orders_b]"#
        )
    }

    fn login(&self, user: &str, password: &str, bound: Duration) -> Result<(), String> {
        self.login(user, password, bound)
    }

    fn let_rotate(&self, may: bool) {
        self.execute(match may {
            true => "GRANT CREATE USER ON *.* TO rotator@'%'",
            false => "REVOKE CREATE USER ON *.* FROM rotator@'%'",
        });
    }

    fn open_accounts(&self) -> Vec<String> {
        let sql = "SELECT User, COALESCE(JSON_LENGTH(Priv, '$.auth_or'), 1) FROM mysql.global_priv
                   WHERE User LIKE 'orders%' AND NOT COALESCE(JSON_VALUE(Priv, '$.account_locked'), FALSE) ORDER BY 1";
        let accounts = self.query(sql).into_iter();
        accounts
            .flat_map(|row| {
                let passwords = row[1].parse().expect("a number of passwords");
                std::iter::repeat_n(row[0].clone(), passwords)
            })
            .collect()
    }
}
