//! The statements, with every name and every text quoted; right in the sessions of [`super::session`], which fix what quotes mean.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use keywheel_core::{Error, ErrorKind, Result, SecretValue};
use zeroize::Zeroizing;

use super::product::Product;

/// A statement, which may hold a password.
pub(super) type Statement = Zeroizing<String>;

/// An account: a name and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'a> {
    pub(super) user: &'a str,
    pub(super) host: &'a str,
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", identifier(self.user), identifier(self.host))
    }
}

/// Returns `name` as an identifier: nothing in it ends the quotation (<https://mariadb.com/kb/en/identifier-names/>).
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Product {
    /// Makes an account that nobody gets into, unless there is one.
    pub(super) fn make(self, account: Account<'_>, unknown: &SecretValue) -> Result<Statement> {
        let password = self.password(unknown)?;
        Ok(format!("CREATE USER IF NOT EXISTS {account} {} ACCOUNT LOCK", *password).into())
    }

    /// Has an account let in whoever has the password, and nobody else.
    pub(super) fn open(self, account: Account<'_>, password: &SecretValue) -> Result<Vec<Statement>> {
        let mut statements = self.replace(account, password)?;
        statements.push(format!("ALTER USER {account} ACCOUNT UNLOCK").into());
        Ok(statements)
    }

    /// Has an account let nobody in, if there is one. What is connected stays connected.
    pub(super) fn lock(self, account: Account<'_>, unknown: &SecretValue) -> Result<Vec<Statement>> {
        let password = self.password(unknown)?;
        Ok(vec![
            format!("ALTER USER IF EXISTS {account} ACCOUNT LOCK").into(),
            format!("ALTER USER IF EXISTS {account} {}", *password).into(),
        ])
    }

    /// Has an account take one password alone.
    pub(super) fn replace(self, account: Account<'_>, password: &SecretValue) -> Result<Vec<Statement>> {
        let mut statements = vec![format!("ALTER USER {account} {}", *self.password(password)?).into()];
        if self == Self::MySql {
            statements.push(discard_old(account));
        }
        Ok(statements)
    }

    /// Has an account take two passwords, whichever it took before.
    pub(super) fn take_both(
        self,
        account: Account<'_>,
        new: &SecretValue,
        old: &SecretValue,
    ) -> Result<Vec<Statement>> {
        let first = self.password(new)?;
        Ok(match self {
            Self::MariaDb => vec![format!("ALTER USER {account} {} OR {}", *first, native(old)).into()],
            // The present password is what the server retains: the old one, also where the new one is set already.
            Self::MySql => vec![
                format!("ALTER USER {account} {}", *self.password(old)?).into(),
                format!("ALTER USER {account} {} RETAIN CURRENT PASSWORD", *first).into(),
            ],
        })
    }

    /// Has an account that takes two passwords take the new one alone.
    pub(super) fn drop_old(self, account: Account<'_>, new: &SecretValue) -> Result<Vec<Statement>> {
        match self {
            Self::MariaDb => self.replace(account, new),
            Self::MySql => Ok(vec![discard_old(account)]),
        }
    }

    fn password(self, password: &SecretValue) -> Result<Statement> {
        match self {
            Self::MariaDb => Ok(format!("IDENTIFIED VIA {}", native(password)).into()),
            Self::MySql => {
                let text = password
                    .expose_text()
                    .ok_or_else(|| Error::new(ErrorKind::Invalid, "rotate", "the password is no text"))?;
                Ok(format!("IDENTIFIED BY {}", *literal(text)).into())
            }
        }
    }
}

fn discard_old(account: Account<'_>) -> Statement {
    format!("ALTER USER {account} DISCARD OLD PASSWORD").into()
}

/// Returns the way in by a password's hash: SHA-1 of SHA-1, which is what the server keeps
/// (<https://mariadb.com/kb/en/authentication-plugin-mysql_native_password/>).
fn native(password: &SecretValue) -> String {
    let once = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.expose_secret());
    let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    let hash: String = twice.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("mysql_native_password USING '*{hash}'")
}

/// Returns `text` as a text, where a backslash means itself.
fn literal(text: &str) -> Zeroizing<String> {
    format!("'{}'", *Zeroizing::new(text.replace('\'', "''"))).into()
}

/// Asks whether this session may change accounts at all: there is none of this name, and nothing is changed.
pub(super) const PROBE: &str = "ALTER USER IF EXISTS `keywheel, nobody`@`localhost` ACCOUNT LOCK";

/// By what an account logs in; nothing where there is none.
pub(super) const PLUGIN: &str = "SELECT plugin FROM mysql.user WHERE User = ? AND Host = ?";

/// Which roles an account of MySQL begins its sessions with; MariaDB has that among what was granted.
pub(super) const DEFAULT_ROLES: &str = "SELECT DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles \
     WHERE USER = ? AND HOST = ? ORDER BY 1, 2";

/// Fails where this session does not see the connections of others (`PROCESS`); the list would leave them out and say nothing.
pub(super) const SEES_OTHERS: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx";

#[cfg(test)]
mod tests {
    use super::*;

    fn all(statements: Vec<Statement>) -> String {
        statements.iter().map(|statement| statement.as_str()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_name_ends_its_quotation() {
        let account = Account { user: r"x`@`%`; DROP USER root; -- '\", host: "10.%`" };
        assert_eq!(account.to_string(), r"`x``@``%``; DROP USER root; -- '\`@`10.%```");
    }

    #[test]
    fn mariadb_gets_hashes_alone() {
        let account = Account { user: "app", host: "%" };
        let (one, two) = (SecretValue::copy_of(b"one"), SecretValue::copy_of(b"'; DROP USER root; --"));
        let both = Product::MariaDb.take_both(account, &two, &one).unwrap();
        assert_eq!(
            all(both),
            "ALTER USER `app`@`%` IDENTIFIED VIA mysql_native_password USING '*BF6A1331FA12EE18A855AE69D30D1614EE5F5760' \
             OR mysql_native_password USING '*74445CD742AF268FD22866DA0D12758951D638F7'"
        );
    }

    #[test]
    fn no_password_ends_its_quotation_at_mysql() {
        let account = Account { user: "app", host: "%" };
        let evil = SecretValue::copy_of(br"\'; DROP USER root; -- ");
        assert_eq!(
            all(Product::MySql.replace(account, &evil).unwrap()),
            r"ALTER USER `app`@`%` IDENTIFIED BY '\''; DROP USER root; -- '; ALTER USER `app`@`%` DISCARD OLD PASSWORD"
        );
        assert_eq!(
            all(Product::MySql
                .take_both(account, &SecretValue::copy_of(b"n"), &SecretValue::copy_of(b"o"))
                .unwrap()),
            "ALTER USER `app`@`%` IDENTIFIED BY 'o'; ALTER USER `app`@`%` IDENTIFIED BY 'n' RETAIN CURRENT PASSWORD"
        );
    }
}
