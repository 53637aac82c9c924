//! Manifests of the External Secrets Operator, as its documentation writes them, delivered to a volume: what the operator would have copied into a `Secret`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywheel_tests::moto::REGION;
use keywheel_tests::{Keywheel, Launch, Moto, Stage, Tmpfs, wait};
use serde_json::json;

/// Returns a store of the stage's server; `vault` are its other keys, each on a line of its own.
fn store(stage: &Stage, name: &str, vault: &str) -> String {
    let ca = STANDARD.encode(fs::read(stage.bao.ca_file()).unwrap());
    format!(
        "---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata:
  name: {name}
  namespace: shop
  annotations:
    keywheel.dev/token-file: {}
spec:
  provider:
    vault:
      server: {}
      caBundle: {ca}
      {vault}
      auth:
        jwt:
          path: jwt
          role: orders
          kubernetesServiceAccountToken:
            serviceAccountRef:
              name: orders
            audiences:
            - vault
            expirationSeconds: 600
",
        stage.token_file().display(),
        stage.bao.address(),
    )
}

/// Returns an `ExternalSecret` that is read again every second and delivered to `directory`; `spec` are its other keys.
fn external_secret(name: &str, store: &str, directory: &Path, spec: &str) -> String {
    format!(
        "---
apiVersion: external-secrets.io/v1beta1
kind: ExternalSecret
metadata:
  name: {name}
  namespace: shop
  annotations:
    keywheel.dev/directory: {}
spec:
  refreshInterval: 1s
  secretStoreRef:
    name: {store}
    kind: SecretStore
{spec}",
        directory.display()
    )
}

/// Starts an agent with these manifests; the document beside them has its admin endpoint.
fn start(launch: Launch, manifests: &str) -> Keywheel {
    let agent = launch.config(&format!("{manifests}---\n")).start();
    agent.wait_ready(Duration::from_secs(30));
    agent
}

/// Returns the visible files of a directory with what is in them.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let visible = names.filter(|name| !name.starts_with(".."));
    visible.filter_map(|name| Some((name.clone(), fs::read_to_string(directory.join(&name)).ok()?))).collect()
}

#[track_caller]
fn delivers(agent: &Keywheel, directory: &Path, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    // An interval of one second, its jitter, and a second for the delivery.
    wait::until(Duration::from_secs(5), &format!("{expected:?}"), || {
        agent.process().assert_running();
        (files(directory) == expected).then_some(())
    });
}

#[test]
fn manifests_for_vault_deliver_and_follow_both_kinds_of_kv() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"username": "app", "password": "one", "port": 5432}));
    stage.bao.kv_put("secret", "orders/tls", &json!({"tls.crt": "certificate", "a key": "b"}));
    stage.bao.kv1_put("kv1", "legacy", &json!({"token": STANDARD.encode("old-1")}));
    let (data, all, old) =
        (stage.volume.path().join("data"), stage.volume.path().join("all"), stage.volume.path().join("old"));
    let manifests = [
        store(&stage, "vault-backend", "path: secret\n      version: v2"),
        store(&stage, "vault-v1", "path: kv1\n      version: v1"),
        external_secret(
            "data",
            "vault-backend",
            &data,
            "  target:
    name: orders-db
    creationPolicy: Owner
    template:
      type: Opaque
      engineVersion: v2
      metadata:
        labels: {app: orders}
      data:
        url: \"postgres://{{ .username }}:{{ .password | b64enc }}@db:{{ .port }}\"
        config.yaml: |
          whole: {{ .whole }}
          password: {{ .password | quote }}
  data:
  - secretKey: username
    remoteRef: {key: orders/db, property: username}
  - secretKey: password
    remoteRef: {key: secret/data/orders/db, property: password, metadataPolicy: None, decodingStrategy: None, conversionStrategy: Default}
  - secretKey: port
    remoteRef: {key: orders/db, property: port}
  - secretKey: whole
    remoteRef: {key: orders/tls}
",
        ),
        external_secret(
            "all",
            "vault-backend",
            &all,
            "  dataFrom:
  - extract: {key: orders/tls}
  - extract: {key: orders/db}
  data:
  - secretKey: password
    remoteRef: {key: orders/db, property: password, version: '1'}
",
        ),
        external_secret(
            "old",
            "vault-v1",
            &old,
            "  data:
  - secretKey: token
    remoteRef: {key: legacy, property: token, decodingStrategy: Base64}
",
        ),
    ];
    let agent = start(Launch::new("agent"), &manifests.concat());
    let whole = r#"{"a key":"b","tls.crt":"certificate"}"#;
    let config = |password: &str| format!("whole: {whole}\npassword: \"{password}\"\n");
    delivers(&agent, &data, &[("url", "postgres://app:b25l@db:5432"), ("config.yaml", &config("one"))]);
    let rest = [("a_key", "b"), ("port", "5432"), ("tls.crt", "certificate")];
    delivers(&agent, &all, &[&rest[..], &[("password", "one"), ("username", "app")]].concat());
    delivers(&agent, &old, &[("token", "old-1")]);

    stage.bao.kv_put("secret", "orders/db", &json!({"username": "app2", "password": "two", "port": 5432}));
    stage.bao.kv1_put("kv1", "legacy", &json!({"token": STANDARD.encode("old-2")}));
    delivers(&agent, &data, &[("url", "postgres://app2:dHdv@db:5432"), ("config.yaml", &config("two"))]);
    // A version that is named stays, and takes the place of the field of its name.
    delivers(&agent, &all, &[&rest[..], &[("password", "one"), ("username", "app2")]].concat());
    delivers(&agent, &old, &[("token", "old-2")]);
    stage.bao.kv_put("secret", "orders/tls", &json!({"tls.key": "key"}));
    delivers(
        &agent,
        &all,
        &[("password", "one"), ("port", "5432"), ("tls.key", "key"), ("username", "app2")],
    );
    let said = agent.logs() + &agent.status().to_string();
    for value in ["certificate\"", "old-1", "old-2", "b25l"] {
        assert!(!said.contains(value), "{value}: {said}");
    }
}

#[test]
fn manifests_for_aws_deliver_what_secrets_manager_and_parameter_store_have() {
    let (moto, volume) = (Moto::start(), Tmpfs::mount(16 << 20));
    let text = "{\"password\": \"one\",  \"username\":\"app\"}";
    moto.put("prod/db", text);
    moto.put("prod/plain", "no JSON");
    moto.put_parameter("/prod/flag", "SecureString", "on");
    let directory = volume.path().join("cloud");
    let store = |name: &str, service: &str, more: &str| {
        format!(
            "---
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata:
  name: {name}
spec:
  provider:
    aws:
      service: {service}
      region: {REGION}
      {more}
      auth:
        jwt:
          serviceAccountRef:
            name: orders
            namespace: shop
"
        )
    };
    let spec = "  dataFrom:
  - extract: {key: db}
  data:
  - secretKey: whole
    remoteRef: {key: db}
  - secretKey: plain
    remoteRef: {key: plain}
  - secretKey: flag
    sourceRef: {storeRef: {name: parameters, kind: ClusterSecretStore}}
    remoteRef: {key: /prod/flag}
";
    let manifests = [
        store("secrets", "SecretsManager", "prefix: prod/"),
        store("parameters", "ParameterStore", ""),
        external_secret("cloud", "secrets", &directory, spec)
            .replace("kind: SecretStore", "kind: ClusterSecretStore"),
    ];
    let launch = Launch::new("agent")
        .env("AWS_ENDPOINT_URL", moto.address())
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "of-the-chain");
    let agent = start(launch, &manifests.concat());
    let rest = [("plain", "no JSON"), ("username", "app")];
    let first = [("flag", "on"), ("password", "one"), ("whole", text)];
    delivers(&agent, &directory, &[&rest[..], &first].concat());
    moto.put("prod/db", "{\"password\":\"two\",\"username\":\"app\"}");
    moto.put_parameter("/prod/flag", "SecureString", "off");
    let second =
        [("flag", "off"), ("password", "two"), ("whole", "{\"password\":\"two\",\"username\":\"app\"}")];
    delivers(&agent, &directory, &[&rest[..], &second].concat());
}

#[test]
fn what_is_not_done_is_refused_with_its_place_by_every_command() {
    let manifests = "apiVersion: external-secrets.io/v1
kind: SecretStore
metadata:
  name: vault-backend
spec:
  provider:
    vault:
      server: http://127.0.0.1:1
      path: secret
      auth:
        tokenSecretRef:
          name: vault-token
          key: token
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: orders
spec:
  secretStoreRef:
    name: elsewhere
  target:
    creationPolicy: Merge
  dataFrom:
  - find:
      name: {regexp: do-not-print}
---
apiVersion: external-secrets.io/v1
kind: PushSecret
metadata: {name: push}
";
    for (command, arguments) in [("agent", &[][..]), ("check", &[]), ("render", &["--dry-run"])] {
        let refused = Launch::new(command).config(manifests).args(arguments).output();
        assert_eq!(refused.code, Some(64), "{command}: {}", refused.stderr);
        for expected in [
            "keywheel.yaml:12:11: SecretStore/vault-backend.spec.provider.vault.auth.tokenSecretRef: is in a Secret of the cluster",
            "keywheel.yaml:21:11: ExternalSecret/orders.spec.secretStoreRef.name: there is no SecretStore",
            "keywheel.yaml:23:21: ExternalSecret/orders.spec.target.creationPolicy: must be Owner or Orphan",
            "keywheel.yaml:26:7: ExternalSecret/orders.spec.dataFrom[0].find: Keywheel reads the secrets that are named",
            "keywheel.yaml:29:7: PushSecret/push.kind: must be SecretStore, ClusterSecretStore or ExternalSecret",
        ] {
            assert!(refused.stderr.contains(expected), "{command}: {expected}\n{}", refused.stderr);
        }
        assert!(!refused.stderr.contains("do-not-print"), "{}", refused.stderr);
    }
}

#[test]
fn a_check_and_a_get_take_manifests_too() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "one"}));
    let directory = stage.volume.path().join("orders");
    let spec = "  data:\n  - secretKey: password\n    remoteRef: {key: orders/db, property: password}\n";
    let manifests = store(&stage, "vault-backend", "path: secret")
        + &external_secret("orders", "vault-backend", &directory, spec);
    let checked = Launch::new("check").config(&manifests).output();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let reference = "store_vault-backend://secret/orders/db#password";
    let got = Launch::new("get").config(&manifests).arg(reference).output();
    assert_eq!((got.code, got.stdout.as_str()), (Some(0), "one"), "{}", got.stderr);
    let once = Launch::new("agent").config(&manifests).arg("--once").output();
    assert_eq!(once.code, Some(0), "{}", once.stderr);
    assert_eq!(files(&directory), [("password".to_owned(), "one".to_owned())].into());
}
