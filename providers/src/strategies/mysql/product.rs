//! Which of the two servers it is that answers, and whether it is new enough.

use keywheel_core::{Error, ErrorKind, Result};

/// The servers that speak the protocol, and differ in how passwords are set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Product {
    MariaDb,
    MySql,
}

impl Product {
    /// Finds out what `version` is of, as `SELECT VERSION()` returns it.
    ///
    /// # Errors
    /// It keeps no second password, or nothing is known of it.
    pub(super) fn try_of(version: &str) -> Result<Self> {
        // MariaDB once called itself 5.5.5 before its own version, for replicas that know no version above 9.
        let number = version.strip_prefix("5.5.5-").unwrap_or(version);
        let mut parts = number.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or_default());
        let mut part = || parts.next().unwrap_or_default();
        let number = (part(), part(), part());
        let is_mariadb = version.to_ascii_lowercase().contains("mariadb");
        let (product, first) =
            if is_mariadb { (Self::MariaDb, (10, 4, 2)) } else { (Self::MySql, (8, 0, 14)) };
        if number < first {
            return Err(Error::new(ErrorKind::Rejected, "check", "the server is too old")
                .with("version", version)
                .with_help("MariaDB 10.4.2 and MySQL 8.0.14 are the first that keep two passwords"));
        }
        Ok(product)
    }

    /// Tells whether an account that logs in by `plugin` gets passwords from here.
    pub(super) fn sets_passwords_of(self, plugin: &str) -> bool {
        match self {
            Self::MariaDb => matches!(plugin, "" | "mysql_native_password"),
            Self::MySql => {
                matches!(plugin, "caching_sha2_password" | "mysql_native_password" | "sha256_password")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_told_apart_and_old_ones_refused() {
        let product = |version| Product::try_of(version).ok();
        assert_eq!(product("10.11.19-MariaDB-0+deb12u1-log"), Some(Product::MariaDb));
        assert_eq!(product("5.5.5-10.4.2-MariaDB"), Some(Product::MariaDb));
        assert_eq!(product("8.0.14"), Some(Product::MySql));
        assert_eq!(product("9.1.0-commercial"), Some(Product::MySql));
        for old in ["10.3.39-MariaDB", "10.4.1-MariaDB", "8.0.13", "5.7.44-log", "8.0.mysql_aurora.3", ""] {
            assert_eq!(product(old), None, "{old}");
        }
    }
}
