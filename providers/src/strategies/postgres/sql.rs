//! The statements, with every name quoted.

/// Returns `name` as an identifier: nothing in it ends the quotation
/// (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>).
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Lets a role log in with the password that `verifier` is of. A verifier has letters, digits and `$:+/=-` alone.
pub(super) fn open(role: &str, verifier: &str) -> String {
    format!("ALTER ROLE {} WITH LOGIN PASSWORD '{verifier}'", identifier(role))
}

/// Makes a role with nothing but a name.
pub(super) fn make(role: &str) -> String {
    format!("CREATE ROLE {} WITH NOLOGIN", identifier(role))
}

/// Has a role not log in any more. What is connected stays connected.
pub(super) fn lock(role: &str) -> String {
    format!("ALTER ROLE {} WITH NOLOGIN PASSWORD NULL", identifier(role))
}

/// Holds off whoever else changes these roles, until the transaction ends.
pub(super) const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtext('keywheel rotation'), hashtext($1))";

/// Which of the roles there are, and whether each may log in and is a superuser.
pub(super) const ROLES: &str = "SELECT rolname::text, rolsuper FROM pg_roles WHERE rolname = ANY($1)";

/// Whether this session may change roles, whether it is a superuser, and its role.
pub(super) const SELF: &str =
    "SELECT rolcreaterole OR rolsuper, rolsuper, rolname::text FROM pg_roles WHERE rolname = current_user";

/// How many objects a role owns, in any database.
pub(super) const OWNED: &str = "SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' \
     AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)";

/// Ends the sessions of a role.
pub(super) const END_SESSIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_quotation() {
        let role = r#"x"; DROP TABLE orders; --"#;
        assert_eq!(identifier(role), r#""x""; DROP TABLE orders; --""#);
        assert_eq!(lock(role), r#"ALTER ROLE "x""; DROP TABLE orders; --" WITH NOLOGIN PASSWORD NULL"#);
    }
}
