//! Administers the server: secrets, policies, tokens, any other path.

use serde_json::{Value, json};

use super::OpenBao;
use crate::http::{Answer, Method, Request};

/// A token that the server issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub token: String,
    /// Its accessor, as the audit log shows it.
    pub accessor: String,
}

impl OpenBao {
    /// Reads any logical path (`sys/mounts`, `secret/data/orders/db`); returns the whole answer, `None` for a 404.
    pub fn read(&self, path: &str) -> Option<Value> {
        let answer = self.send(Method::GET, path, None);
        (answer.status != 404).then(|| success(path, &answer))
    }

    /// Writes any logical path; returns the whole answer, `null` when it has no body.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        success(path, &self.send(Method::PUT, path, Some(body)))
    }

    /// Deletes any logical path.
    pub fn delete(&self, path: &str) {
        success(path, &self.send(Method::DELETE, path, None));
    }

    /// Writes a secret to a KV v2 mount; returns its version.
    pub fn kv_put(&self, mount: &str, path: &str, fields: &Value) -> u64 {
        let answer = self.write(&format!("{mount}/data/{path}"), &json!({"data": fields}));
        answer.pointer("/data/version").and_then(Value::as_u64).expect("a version")
    }

    /// Deletes the newest version of a secret in a KV v2 mount; its metadata stays.
    pub fn kv_delete(&self, mount: &str, path: &str) {
        self.delete(&format!("{mount}/data/{path}"));
    }

    /// Writes a secret to a KV v1 mount.
    pub fn kv1_put(&self, mount: &str, path: &str, fields: &Value) {
        self.write(&format!("{mount}/{path}"), fields);
    }

    /// Writes the policy `name` (HCL).
    pub fn policy(&self, name: &str, rules: &str) {
        self.write(&format!("sys/policies/acl/{name}"), &json!({"policy": rules}));
    }

    /// Creates a token; `body` is that of `auth/token/create` (`policies`, `ttl`, `period`, `explicit_max_ttl`, …).
    pub fn token(&self, body: &Value) -> Token {
        let answer = self.write("auth/token/create", body);
        let text =
            |at: &str| answer.pointer(at).and_then(Value::as_str).expect("a token's answer").to_owned();
        Token { token: text("/auth/client_token"), accessor: text("/auth/accessor") }
    }

    /// Revokes a token and all that hangs on it.
    pub fn revoke(&self, token: &Token) {
        self.write("auth/token/revoke-accessor", &json!({"accessor": token.accessor}));
    }

    /// Sends one request with the test's own token and returns whatever is answered.
    pub fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        send(self.admin_token(), method, &format!("{}/v1/{path}", self.plain_address()), body)
    }

    pub(super) fn admin_token(&self) -> &str {
        &self.admin.token
    }
}

/// Sends one request as `token` and returns the answer's JSON; panics on a refusal.
pub(super) fn send_as(token: &str, method: Method, url: &str, body: Option<&Value>) -> Value {
    success(url, &send(token, method, url, body))
}

fn send(token: &str, method: Method, url: &str, body: Option<&Value>) -> Answer {
    let mut request = Request::new(method, url).with_header("X-Vault-Token", token);
    if let Some(body) = body {
        request = request.with_json(body);
    }
    request.send().unwrap_or_else(|error| panic!("no answer: {error:?}"))
}

fn success(path: &str, answer: &Answer) -> Value {
    assert!((200..300).contains(&answer.status), "{path}: status {}: {}", answer.status, answer.text());
    answer.json()
}
