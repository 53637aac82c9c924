//! Parameter Store as moto plays it: the conformance suites, and what is its own.

#![cfg(feature = "aws-ssm")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use aws_support::{Stage, context, expose, reference};
use futures_util::future::join_all;
use keywheel_core::config::Config;
use keywheel_core::conformance::{Fields, Fixture, run_all};
use keywheel_core::environment::Environment;
use keywheel_core::registry::Registry;
use keywheel_core::{ErrorKind, Provider, SecretRef};
use keywheel_providers::aws::ssm::SsmKind;
use keywheel_tests::{Fault, Moto};

#[derive(Debug)]
struct Parameters<'a>(&'a Moto);

#[async_trait]
impl Fixture for Parameters<'_> {
    fn reference(&self, name: &str) -> SecretRef {
        reference(&format!("ssm:///conformance/{name}"))
    }

    async fn put(&self, name: &str, fields: Fields) {
        let fields: serde_json::Map<String, serde_json::Value> = fields
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::to_value(value.expose()).unwrap()))
            .collect();
        let value = serde_json::Value::Object(fields).to_string();
        self.0.put_parameter(&format!("/conformance/{name}"), "String", &value);
    }

    async fn delete(&self, name: &str) {
        self.0.delete_parameter(&format!("/conformance/{name}"));
    }
}

fn provider(stage: &Stage) -> Arc<dyn Provider> {
    let registry = Registry::default().with(SsmKind::new(Environment::default()));
    let text = format!(
        "providers:\n ssm:\n  kind: ssm\n  region: eu-west-1\n  endpoint_url: {}\n{}",
        stage.faults.address(),
        stage.pod_identity()
    );
    let config = Config::parse(Path::new("keywheel.yaml"), &text, &registry, &Environment::default());
    config.unwrap().providers["ssm"].blueprint.build(context()).unwrap()
}

#[tokio::test]
async fn parameter_store_conforms() {
    let stage = Stage::new();
    run_all(&provider(&stage), &Parameters(&stage.moto)).await;
}

#[tokio::test]
async fn parameters_are_read_by_name_version_and_path_and_ten_with_a_call() {
    let stage = Stage::new();
    let ssm = provider(&stage);
    for number in 0..25 {
        stage.moto.put_parameter(&format!("/shop/p{number:02}"), "SecureString", &format!("v{number}"));
    }
    let reads = (0..25).map(|number| {
        let (ssm, reference) = (&ssm, reference(&format!("ssm:///shop/p{number:02}")));
        async move { expose(&ssm.read(&reference).await.unwrap(), "value") }
    });
    let read = join_all(reads).await;
    assert_eq!(read, (0..25).map(|number| format!("v{number}")).collect::<Vec<_>>());
    assert_eq!((stage.faults.count_of("GetParameters"), stage.faults.count_of("GetParameter")), (3, 0));

    let folder = ssm.read(&reference("ssm:///shop/")).await.unwrap();
    assert_eq!((folder.fields().len(), expose(&folder, "p07").as_str()), (25, "v7"));
    assert_eq!(stage.faults.count_of("GetParametersByPath"), 3);
    assert!(ssm.read_if_changed(&reference("ssm:///shop/"), folder.version()).await.unwrap().is_none());
    stage.moto.put_parameter("/shop/p07", "SecureString", "new");
    let changed = ssm.read_if_changed(&reference("ssm:///shop/"), folder.version()).await.unwrap().unwrap();
    assert_eq!(expose(&changed, "p07"), "new");
    let old = reference("ssm://shop/p07?version=1");
    let secret = ssm.read(&old).await.unwrap();
    assert_eq!(expose(&secret, "value"), "v7");
    assert!(ssm.read_if_changed(&old, secret.version()).await.unwrap().is_none());

    for missing in ["ssm:///shop/none", "ssm:///none/", "ssm:///shop/p07?version=9"] {
        let error = ssm.read(&reference(missing)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(missing), "{error}");
    }
    let denied = Fault::Aws {
        status: 400,
        code: "AccessDeniedException".into(),
        message: "not authorized to perform: kms:Decrypt".into(),
    };
    stage.faults.show_to("GetParameter", denied);
    let error = ssm.read(&reference("ssm:///shop/p07")).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::PermissionDenied && error.to_string().contains("kms:Decrypt"),
        "{error}"
    );
}
