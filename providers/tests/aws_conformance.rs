//! The conformance suites, run on Secrets Manager as moto plays it.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use async_trait::async_trait;
use aws_support::{Stage, reference};
use keywheel_core::conformance::{Fields, Fixture, Holds, kills_do_no_harm, run_all, stores};
use keywheel_core::{SecretRef, Value};
use keywheel_tests::Moto;

/// Secrets by their names; those with one field that is no text are `SecretBinary`.
#[derive(Debug)]
struct Secrets<'a>(&'a Moto);

#[async_trait]
impl Fixture for Secrets<'_> {
    fn holds(&self) -> Holds {
        Holds { binary: true, ..Holds::default() }
    }

    fn reference(&self, name: &str) -> SecretRef {
        reference(&format!("aws://conformance/{name}"))
    }

    async fn put(&self, name: &str, fields: Fields) {
        let name = format!("conformance/{name}");
        if let Some(Value::Bytes(bytes)) = fields.get("value")
            && bytes.expose_text().is_none()
        {
            self.0.put_binary(&name, bytes.expose_secret());
            return;
        }
        let fields: serde_json::Map<String, serde_json::Value> = fields
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::to_value(value.expose()).unwrap()))
            .collect();
        self.0.put(&name, &serde_json::Value::Object(fields).to_string());
    }

    async fn delete(&self, name: &str) {
        self.0.delete(&format!("conformance/{name}"));
    }
}

#[tokio::test]
async fn secrets_manager_conforms() {
    let stage = Stage::new();
    run_all(&stage.provider(""), &Secrets(&stage.moto)).await;
}

#[tokio::test]
async fn its_store_conforms() {
    let stage = Stage::new();
    stores::run_all(&stage.provider(""), &Secrets(&stage.moto), true).await;
}

#[tokio::test]
async fn killed_rotators_do_it_no_harm() {
    let stage = Stage::new();
    kills_do_no_harm(&stage.provider(""), &Secrets(&stage.moto), keywheel_providers::registry).await;
}
