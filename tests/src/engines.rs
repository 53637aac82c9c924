//! Sets the stage for rotations that an engine of the server's does: a static role, a connection, a key, a secret id.

use serde_json::{Value, json};

use crate::http::Method;
use crate::keywheel::Finished;
use crate::{Launch, OpenBao, Postgres};

/// A server with a database engine, a transit key and an approle, all of which are called `orders`.
#[derive(Debug)]
pub struct Engines {
    /// The server.
    pub bao: OpenBao,
    /// The database; the engine logs in there as `engine`, with the password `engine` at first.
    pub postgres: Postgres,
    token: String,
    role_id: String,
}

/// A rotation of the stage's, as its configuration has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rotated {
    /// The password of a static role.
    Role,
    /// The engine's own password.
    Connection,
    /// A key of transit, of which two versions are kept.
    Key,
    /// The secret id of an approle, published in `secret/orders/login`.
    SecretId,
}

impl Engines {
    /// Sets the stage.
    pub fn set() -> Self {
        let (bao, postgres) = (OpenBao::start(), Postgres::start());
        postgres.execute("CREATE ROLE engine SUPERUSER LOGIN PASSWORD 'engine'; CREATE ROLE orders LOGIN");
        bao.write("sys/mounts/database", &json!({"type": "database"}));
        let url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable",
            postgres.address()
        );
        let connection = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": ["*"], "connection_url": url,
            "username": "engine", "password": "engine",
        });
        bao.write("database/config/orders", &connection);
        let role = json!({"db_name": "orders", "username": "orders", "rotation_period": "24h"});
        bao.write("database/static-roles/orders", &role);
        bao.write("sys/mounts/transit", &json!({"type": "transit"}));
        bao.write("transit/keys/orders", &json!({}));
        bao.enable_approle("approle");
        let (role_id, secret_id) = bao.approle("approle", "orders", &json!({"token_policies": ["default"]}));
        bao.kv_put("secret", "orders/login", &json!({"secret_id": secret_id, "note": "stays"}));
        bao.policy("rotator", MAY_ROTATE);
        let token = bao.token(&json!({"policies": ["rotator"], "no_parent": true})).token;
        Self { bao, postgres, token, role_id }
    }

    /// Returns a configuration of one rotation, `orders`, straight to the server.
    pub fn configuration(&self, rotated: Rotated, overlap: &str) -> String {
        self.configuration_by(&self.bao.plain_address(), rotated, overlap)
    }

    /// As [`Engines::configuration`], by another way to the server.
    pub fn configuration_by(&self, bao: &str, rotated: Rotated, overlap: &str) -> String {
        let token = &self.token;
        let record = "record: vault://secret/keywheel/rotation/orders";
        let (target, strategy, more) = match rotated {
            Rotated::Role => {
                ("vault://database/static-roles/orders", "vault-database: {}", record.to_owned())
            }
            Rotated::Connection => {
                ("vault://database/config/orders", "vault-database: {}", record.to_owned())
            }
            Rotated::Key => (
                "vault://transit/keys/orders",
                "vault-transit-key: {keep: 2}",
                format!("{record}\n    overlap: {overlap}"),
            ),
            Rotated::SecretId => (
                "vault://secret/orders/login",
                "vault-approle-secret-id: {role: \"vault://auth/approle/role/orders\"}",
                format!("overlap: {overlap}"),
            ),
        };
        format!(
            r#"
providers:
  vault: {{kind: vault, address: "{bao}", auth: {{method: token, token: "{token}"}}}}
rotations:
  - name: orders
    target: {target}
    schedule: {{every: 30d}}
    strategy: {{{strategy}}}
    {more}
"#
        )
    }

    /// Runs `keywheel rotate` to its end.
    pub fn rotate(&self, configuration: &str, arguments: &[&str]) -> Finished {
        Launch::new("rotate").args(arguments).config(configuration).output()
    }

    /// Returns what `keywheel rotate status --json` says.
    pub fn status(&self, configuration: &str) -> Value {
        let status = self.rotate(configuration, &["status", "--json"]);
        assert_eq!(status.code, Some(0), "{}", status.stderr);
        let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
        status[0].clone()
    }

    /// Returns the password of the static role.
    pub fn password(&self) -> String {
        text(&self.bao.read("database/static-creds/orders").expect("a role"), "/data/password")
    }

    /// Returns the number of the key's newest version, and of the oldest that decrypts.
    pub fn versions(&self) -> (u64, u64) {
        let key = self.bao.read("transit/keys/orders").expect("a key");
        let number = |at: &str| key.pointer(at).and_then(Value::as_u64).expect("a number");
        (number("/data/latest_version"), number("/data/min_decryption_version"))
    }

    /// Returns the published secret id.
    pub fn secret_id(&self) -> String {
        text(&self.bao.read("secret/data/orders/login").expect("a secret"), "/data/data/secret_id")
    }

    /// Returns how many secret ids there are.
    pub fn secret_ids(&self) -> usize {
        let answer = self.bao.send(Method::GET, "auth/approle/role/orders/secret-id?list=true", None);
        answer.json()["data"]["keys"].as_array().map_or(0, Vec::len)
    }

    /// Tells whether a secret id logs in.
    pub fn logs_in(&self, secret_id: &str) -> bool {
        let login = json!({"role_id": self.role_id, "secret_id": secret_id});
        self.bao.send(Method::POST, "auth/approle/login", Some(&login)).status == 200
    }
}

fn text(answer: &Value, at: &str) -> String {
    answer.pointer(at).and_then(Value::as_str).expect("a text").to_owned()
}

const MAY_ROTATE: &str = r#"
path "secret/data/keywheel/rotation/*" { capabilities = ["read", "create", "update"] }
path "secret/data/orders/login" { capabilities = ["read", "create", "update"] }
path "database/static-roles/orders" { capabilities = ["read"] }
path "database/rotate-role/orders" { capabilities = ["update"] }
path "database/config/orders" { capabilities = ["read"] }
path "database/rotate-root/orders" { capabilities = ["update"] }
path "transit/keys/orders" { capabilities = ["read"] }
path "transit/keys/orders/rotate" { capabilities = ["update"] }
path "transit/keys/orders/config" { capabilities = ["update"] }
path "auth/approle/role/orders" { capabilities = ["read"] }
path "auth/approle/role/orders/role-id" { capabilities = ["read"] }
path "auth/approle/role/orders/custom-secret-id" { capabilities = ["update"] }
path "auth/approle/role/orders/secret-id/lookup" { capabilities = ["update"] }
path "auth/approle/role/orders/secret-id-accessor/destroy" { capabilities = ["update"] }
"#;
