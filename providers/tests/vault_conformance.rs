//! The conformance suites, run on both KV engines of a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use async_trait::async_trait;
use keywheel_core::SecretRef;
use keywheel_core::conformance::{Fields, Fixture, Holds, kills_do_no_harm, run_all, stores};
use keywheel_tests::http::{Method, Request};
use keywheel_tests::{OpenBao, Options, ports};
use serde_json::{Value, json};
use vault_support::{provider, reference};

#[derive(Debug)]
struct Kv<'a> {
    bao: &'a OpenBao,
    /// Where the server takes requests of more strings than it usually does.
    port: u16,
    mount: &'static str,
    /// Where a value is below the mount, and what is deleted.
    data: &'static str,
    whole: &'static str,
}

#[async_trait]
impl Fixture for Kv<'_> {
    fn holds(&self) -> Holds {
        // An entry of the server's storage has at most 1 MiB, all around the value included.
        Holds { oversized: false, parameters: true, ..Holds::default() }
    }

    fn reference(&self, name: &str) -> SecretRef {
        reference(&format!("vault://{}/{name}", self.mount))
    }

    async fn put(&self, name: &str, fields: Fields) {
        let fields: serde_json::Map<String, Value> = fields
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::to_value(value.expose()).unwrap()))
            .collect();
        let body = match self.data {
            "" => Value::Object(fields),
            _ => json!({"data": fields}),
        };
        let url = format!("http://127.0.0.1:{}/v1/{}/{}{name}", self.port, self.mount, self.data);
        let request = Request::new(Method::PUT, &url).with_header("X-Vault-Token", self.bao.root_token());
        let answer = request.with_json(&body).send().unwrap();
        assert!(answer.status < 300, "{}", answer.text());
    }

    async fn delete(&self, name: &str) {
        self.bao.delete(&format!("{}/{}{name}", self.mount, self.whole));
    }
}

async fn conform(mount: &'static str, data: &'static str, whole: &'static str) {
    let (port, cluster) = (ports::free(), ports::free());
    let mut options = Options::default();
    options.configuration = format!(
        r#"listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable = true
  max_request_json_strings = 100000
}}"#
    );
    let bao = OpenBao::start_with(&options);
    let vault = provider(&bao, &[("VAULT_TOKEN", bao.root_token())]);
    let kv = Kv { bao: &bao, port, mount, data, whole };
    run_all(&vault, &kv).await;
    stores::run_all(&vault, &kv, !data.is_empty()).await;
    kills_do_no_harm(&vault, &kv, keywheel_providers::registry).await;
}

#[tokio::test]
async fn kv_1_conforms() {
    conform("kv1", "", "").await;
}

#[tokio::test]
async fn kv_2_conforms_where_versions_are_deleted() {
    conform("secret", "data/", "data/").await;
}

#[tokio::test]
async fn kv_2_conforms_where_secrets_are_deleted_whole() {
    conform("secret", "data/", "metadata/").await;
}
