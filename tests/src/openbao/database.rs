//! Lets the server make, rotate and end accounts of a database.

use std::time::Duration;

use serde_json::{Value, json};

use super::OpenBao;
use crate::Postgres;
use crate::http::Method;

impl OpenBao {
    /// Enables the database engine at `database/` with the connection `pg` to `postgres`, and verifies that it can log
    /// in there.
    ///
    /// The accounts that it makes are named `v-LOGIN-ROLE-RANDOM-TIME`, the first two cut after eight characters: a
    /// login with the test's own token is `token`.
    pub fn enable_database(&self, postgres: &Postgres) {
        self.write("sys/mounts/database", &json!({"type": "database"}));
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": ["*"],
            // OpenBao puts the account's own fields into the braces, percent-encoded.
            "connection_url": format!(
                "postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable",
                postgres.address()
            ),
            "username": postgres.admin_user(),
            "password": postgres.admin_password(),
            "verify_connection": true,
        });
        self.write("database/config/pg", &connection);
    }

    /// Makes a role whose accounts last as long as their lease; reading `database/creds/NAME` mints one.
    ///
    /// Their `VALID UNTIL` is the lease's end and five seconds; when the lease ends, sessions end with it.
    pub fn dynamic_role(&self, name: &str, default_ttl: Duration, max_ttl: Duration) {
        let role = json!({
            "db_name": "pg",
            "default_ttl": seconds(default_ttl),
            "max_ttl": seconds(max_ttl),
            "creation_statements": [
                r#"CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#,
            ],
            // A session outlives its role's removal, and would still hold what it had.
            "revocation_statements": [
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
                r#"DROP ROLE IF EXISTS "{{name}}""#,
            ],
        });
        self.write(&format!("database/roles/{name}"), &role);
    }

    /// Makes the account `username` in the database and a role that owns its password; `database/static-creds/NAME`
    /// reads it.
    ///
    /// OpenBao sets a first password at once, and another every `rotation_period` (whole seconds, at least 5).
    pub fn static_role(&self, postgres: &Postgres, name: &str, username: &str, rotation_period: Duration) {
        postgres.execute(&format!(r#"CREATE ROLE "{username}" LOGIN"#));
        let role =
            json!({"db_name": "pg", "username": username, "rotation_period": seconds(rotation_period)});
        self.write(&format!("database/static-roles/{name}"), &role);
    }

    /// Gives the static role a new password now; its period begins again.
    pub fn rotate_static_role(&self, name: &str) {
        self.write(&format!("database/rotate-role/{name}"), &json!({}));
    }

    /// Returns the ids of the leases whose ids begin with the folder `prefix` (`database/creds/NAME`); empty when there
    /// is none.
    pub fn leases(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.trim_end_matches('/');
        let answer = self.send(Method::GET, &format!("sys/leases/lookup/{prefix}?list=true"), None);
        if answer.status == 404 {
            return Vec::new();
        }
        let answer = answer.json();
        let keys = answer.pointer("/data/keys").and_then(Value::as_array).expect("a list of leases");
        keys.iter().map(|key| format!("{prefix}/{}", key.as_str().expect("a lease"))).collect()
    }

    /// Returns what `sys/leases/lookup` says of a lease (`ttl`, `expire_time`, `renewable`, …); `None` when it has ended.
    pub fn lease(&self, id: &str) -> Option<Value> {
        let answer = self.send(Method::PUT, "sys/leases/lookup", Some(&json!({"lease_id": id})));
        (answer.status == 200).then(|| answer.json()["data"].take())
    }

    /// Revokes a lease and waits until what it stands for has ended.
    pub fn revoke_lease(&self, id: &str) {
        self.write("sys/leases/revoke", &json!({"lease_id": id, "sync": true}));
    }

    /// Lets a lease end `span` from now, in whole seconds and at least one, by renewing it for that.
    ///
    /// OpenBao takes the span also when it is shorter than what is left (0 would stand for the role's default), and
    /// moves the account's `VALID UNTIL` with it; its own later renewals may lengthen the lease again, up to the
    /// role's `max_ttl`.
    pub fn shorten_lease(&self, id: &str, span: Duration) {
        self.write("sys/leases/renew", &json!({"lease_id": id, "increment": seconds(span)}));
    }
}

pub(super) fn seconds(span: Duration) -> String {
    format!("{}s", span.as_secs())
}
