//! Manifests of all shapes: what comes out is the tree of a configuration, shown as JSON, or the mistakes.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::config::node::{Content, Node};
use crate::config::section::{Mistake, Mistakes};
use crate::config::{Config, read_manifests};
use crate::environment::Environment;
use crate::registry::Registry;

const STORE: &str = "\
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: vault}
spec:
  provider:
    vault:
      server: https://vault.test
      path: secret
      auth: {kubernetes: {mountPath: kubernetes, role: app}}
---
";

const SECRET: &str = "\
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: orders}
spec:
  secretStoreRef: {name: vault}
";

/// Translates a file into a configuration, or its mistakes.
fn translate(text: &str) -> Result<Value, Vec<String>> {
    let documents: Vec<Node> = serde_saphyr::from_multiple(text).unwrap();
    let mistakes = Mistakes::default();
    let root = read_manifests(documents, &Environment::default(), &mistakes);
    let mistakes = mistakes.into_sorted();
    match mistakes.is_empty() {
        true => Ok(shown(&root)),
        false => Err(mistakes.iter().map(ToString::to_string).collect()),
    }
}

fn shown(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Null,
        Content::Bool(value) => json!(value),
        Content::Number(text) | Content::Text(text) => json!(text),
        Content::List(items) => items.iter().map(shown).collect(),
        Content::Map(entries) => entries.iter().map(|(key, _, node)| (key.clone(), shown(node))).collect(),
    }
}

/// Translates the `provider` of a store (lines with six spaces before them) into that of a configuration.
fn provider(lines: &str) -> Result<Value, Vec<String>> {
    let text = format!(
        "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {{name: a}}\nspec:\n  provider:\n{lines}"
    );
    translate(&text).map(|root| root["providers"]["store_a"].clone())
}

/// Translates the rest of an `ExternalSecret`'s `spec` (lines with two spaces before them) into a delivery.
fn delivery(lines: &str) -> Result<Value, Vec<String>> {
    translate(&format!("{STORE}{SECRET}{lines}")).map(|root| root["deliveries"][0].clone())
}

/// Returns the reference that a `remoteRef` becomes in a store of `provider`.
fn reference(provider: &str, remote: &str) -> Result<String, Vec<String>> {
    let text = format!(
        "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {{name: vault}}\nspec: {{provider: {provider}}}\n---\n{SECRET}  data: [{{secretKey: k, remoteRef: {remote}}}]\n"
    );
    let root = translate(&text)?;
    Ok(root["deliveries"][0]["secrets"]["k"]["ref"].as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_mistake<T: std::fmt::Debug>(result: Result<T, Vec<String>>, words: &str) {
    let mistakes = result.unwrap_err();
    assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{mistakes:#?}");
}

#[test]
fn a_store_and_a_secret_become_a_provider_and_a_delivery() {
    let root = translate(&format!(
        "{STORE}{SECRET}  refreshInterval: 15s\n  target: {{name: orders-db}}\n  data:\n  - {{secretKey: db-password, remoteRef: {{key: orders/db, property: password}}}}\n  dataFrom:\n  - extract: {{key: orders/api}}\n"
    ));
    let expected = json!({
        "providers": {"store_vault": {
            "kind": "vault",
            "address": "https://vault.test",
            "auth": {"method": "kubernetes", "token_file": "/var/run/secrets/keywheel/token", "mount": "kubernetes", "role": "app"},
        }},
        "deliveries": [{
            "name": "orders",
            "directory": "/run/secrets/orders-db",
            "secrets": {
                "extract": {"ref": "store_vault://secret/orders/api?kv=2", "refresh": "15s"},
                "db_password": {"ref": "store_vault://secret/orders/db?kv=2#password", "refresh": "15s"},
            },
            "files": [{"fields_of": "extract"}, {"path": "db-password", "value": "{{ db_password }}"}],
        }],
    });
    assert_eq!(root.unwrap(), expected);
}

#[test]
fn every_way_to_log_in_is_one_of_keywheel_s_or_refused() {
    let auth = |auth: &str| {
        let lines = format!("    vault: {{server: 'https://v.test', auth: {auth}}}\n");
        provider(&lines).map(|provider| provider["auth"].clone())
    };
    let token = "/var/run/secrets/keywheel/token";
    assert_eq!(
        auth("{kubernetes: {role: app, serviceAccountRef: {name: app, audiences: [vault]}}}"),
        Ok(json!({"method": "kubernetes", "token_file": token, "role": "app"}))
    );
    assert_eq!(
        auth(
            "{jwt: {path: cluster, role: app, kubernetesServiceAccountToken: {serviceAccountRef: {name: app}, audiences: [vault], expirationSeconds: 600}}}"
        ),
        Ok(json!({"method": "jwt", "token_file": token, "mount": "cluster", "role": "app"}))
    );
    for (wrong, words) in [
        ("{kubernetes: {role: app, secretRef: {name: a, key: b}}}", "keywheel.dev/token-file"),
        ("{kubernetes: {mountPath: a}}", "needs `role`"),
        ("{kubernetes: {role: app, other: 1}}", "unknown key `other`"),
        ("{kubernetes: {role: app, serviceAccountRef: {nam: a}}}", "unknown key `nam`"),
        ("{jwt: {role: app}}", "needs either `kubernetesServiceAccountToken` or `secretRef`"),
        ("{jwt: {secretRef: {name: a, key: b}}}", "keywheel.dev/token-file"),
        ("{jwt: {kubernetesServiceAccountToken: {account: a}}}", "unknown key `account`"),
        ("{appRole: {roleId: a, secretRef: {name: a, key: b}}}", "keywheel.dev/secret-id-file"),
        ("{appRole: {roleId: a}}", "needs `secretRef`"),
        ("{tokenSecretRef: {name: a, key: b}}", "keywheel.dev/token-file"),
        ("{ldap: {username: a}}", "no such login"),
        ("{userPass: {username: a}}", "no such login"),
        ("{iam: {vaultRole: a}}", "no such login"),
        ("{gcp: {role: a}}", "no such login"),
        ("{cert: {}}", "no such login"),
        ("{}", "needs `kubernetes`"),
        ("{namespace: other, kubernetes: {role: app}}", "logs in where the secrets are"),
        ("{nonsense: {}, kubernetes: {role: app}}", "unknown key `nonsense`"),
        ("{jwt: {role: a, kubernetesServiceAccountToken: {}}, kubernetes: {role: app}}", "needs one of"),
    ] {
        assert_mistake(auth(wrong), words);
    }
}

#[test]
fn what_is_in_the_cluster_is_read_from_a_file_that_an_annotation_names() {
    let provider = |annotations: &str, lines: &str| {
        let text = format!(
            "apiVersion: external-secrets.io/v1beta1\nkind: ClusterSecretStore\nmetadata: {{name: a.b, labels: {{x: y}}, annotations: {{other.io/x: y, {annotations}}}}}\nspec:\n  controller: dev\n  provider:\n    vault: {{server: 'https://v.test', {lines}}}\n"
        );
        translate(&text).map(|root| root["providers"]["cluster-store_a_b"].clone())
    };
    let secret = "{name: a, key: b}";
    let read = provider(
        "keywheel.dev/secret-id-file: /f/secret, keywheel.dev/role-id-file: /f/role, keywheel.dev/ca-file: /f/ca",
        &format!(
            "caProvider: {{type: ConfigMap, name: a, key: b}}, auth: {{appRole: {{path: app, roleRef: {secret}, secretRef: {secret}}}}}"
        ),
    );
    let expected = json!({
        "kind": "vault",
        "address": "https://v.test",
        "ca_file": "/f/ca",
        "auth": {"method": "approle", "mount": "app", "role_id_file": "/f/role", "secret_id_file": "/f/secret"},
    });
    assert_eq!(read.unwrap(), expected);
    let read = provider("keywheel.dev/token-file: /f/token", &format!("auth: {{tokenSecretRef: {secret}}}"));
    assert_eq!(read.unwrap()["auth"], json!({"method": "token", "token_file": "/f/token"}));
    let unknown = provider("keywheel.dev/token-fil: /f/token", "auth: {kubernetes: {role: a}}");
    assert_mistake(unknown, "there is no annotation keywheel.dev/token-fil here");
    assert_mistake(
        provider("", "caProvider: {type: Secret, name: a}, auth: {kubernetes: {role: a}}"),
        "keywheel.dev/ca-file",
    );
}

#[test]
fn authorities_are_certificates() {
    let ca = |bundle: &str| {
        provider(&format!(
            "    vault: {{server: 'https://v.test', caBundle: {bundle}, auth: {{kubernetes: {{role: a}}}}}}\n"
        ))
        .map(|provider| provider["ca_pem"].clone())
    };
    assert_eq!(ca("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="), Ok(json!("-----BEGIN CERTIFICATE-----\n")));
    for wrong in ["nonsense!", "bm9uc2Vuc2U=", "/w=="] {
        assert_mistake(ca(wrong), "must be certificates in PEM, in base64");
    }
    let annotated = STORE
        .replace("{name: vault}", "{name: vault, annotations: {keywheel.dev/ca-file: /ca}}")
        .replace("path: secret", "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==");
    assert_mistake(translate(&annotated), "names authorities beside `caBundle`");
}

#[test]
fn stores_of_aws_take_the_pod_s_own_identity() {
    let aws = |rest: &str| provider(&format!("    aws: {{{rest}}}\n"));
    assert_eq!(
        aws("service: SecretsManager, region: eu-west-1, auth: {jwt: {serviceAccountRef: {name: app}}}"),
        Ok(json!({"kind": "aws", "region": "eu-west-1"}))
    );
    assert_eq!(
        aws(
            "service: ParameterStore, region: eu-west-1, role: 'arn:aws:iam::123456789012:role/a', externalID: x"
        ),
        Ok(
            json!({"kind": "ssm", "region": "eu-west-1", "auth": {"method": "assume_role", "role_arn": "arn:aws:iam::123456789012:role/a", "external_id": "x"}})
        )
    );
    for (wrong, words) in [
        ("region: eu-west-1", "needs `service`"),
        ("service: SecretsManager", "needs `region`"),
        ("service: Other, region: a-1", "must be SecretsManager or ParameterStore"),
        ("service: SecretsManager, region: a-1, externalID: x", "goes with `role`"),
        ("service: SecretsManager, region: a-1, additionalRoles: [a]", "does not do this"),
        ("service: SecretsManager, region: a-1, sessionTagsPolicy: Simple", "must be None"),
        ("service: SecretsManager, region: a-1, auth: {secretRef: {}}", "does not read"),
        ("service: SecretsManager, region: a-1, nonsense: 1", "unknown key `nonsense`"),
    ] {
        assert_mistake(aws(wrong), words);
    }
    assert_mistake(provider("    gcpsm: {projectID: a}\n"), "reads no secrets from `gcpsm`");
    assert_mistake(provider("    {}\n"), "needs `vault` or `aws`");
}

#[test]
fn keys_are_named_as_the_operator_names_them() {
    let vault = |more: &str| {
        format!("{{vault: {{server: 'https://v.test', {more} auth: {{kubernetes: {{role: a}}}}}}}}")
    };
    for (store, remote, expected) in [
        ("path: secret,", "{key: foo, property: p}", "secret/foo?kv=2#p"),
        ("path: secret/,", "{key: foo}", "secret/foo?kv=2"),
        ("path: secret,", "{key: secret/foo, property: a.b.0}", "secret/foo?kv=2#a.b.0"),
        ("path: secret,", "{key: secret/data/foo, version: '3'}", "secret/foo?kv=2&version=3"),
        ("path: secret,", "{key: secretfoo}", "secret/secretfoo?kv=2"),
        ("path: secret,", "{key: a b?c#d%}", "secret/a%20b%3Fc%23d%25?kv=2"),
        ("path: team/kv,", "{key: team/kv/data/foo, version: 3}", "team/kv/foo?version=3"),
        ("path: secret, version: v1,", "{key: foo}", "secret/foo"),
        ("path: secret, version: v1,", "{key: secret/data/foo}", "secret/data/foo"),
        ("path: secret,", "{key: /orders//db/}", "secret/orders/db?kv=2"),
        ("version: v1,", "{key: /kv//a}", "kv/a"),
        ("", "{key: secret//foo/bar}", "secret/foo/bar?kv=2"),
        ("", "{key: secret/data/foo}", "secret/foo?kv=2"),
        ("", "{key: team/kv/data/foo}", "team/kv/foo"),
        ("version: v1,", "{key: database/creds/app, property: username}", "database/creds/app#username"),
    ] {
        let reference = reference(&vault(store), remote);
        assert_eq!(reference, Ok(format!("store_vault://{expected}")), "{store} {remote}");
    }
    let aws = |service: &str| format!("{{aws: {{service: {service}, region: eu-west-1, prefix: p/}}}}");
    for (service, remote, expected) in [
        ("SecretsManager", "{key: a, property: x}", "p/a?text=false#x"),
        ("SecretsManager", "{key: a}", "p/a?text=true#value"),
        (
            "SecretsManager",
            "{key: a, property: x, version: AWSPREVIOUS}",
            "p/a?stage=AWSPREVIOUS&text=false#x",
        ),
        (
            "SecretsManager",
            "{key: a, version: uuid/01234567-89ab-cdef-0123-456789abcdef}",
            "p/a?text=true&version-id=01234567-89ab-cdef-0123-456789abcdef#value",
        ),
        ("ParameterStore", "{key: a, version: 3}", "p/a?text=true&version=3#value"),
        ("ParameterStore", "{key: a, property: x, version: stable}", "p/a?label=stable&text=false#x"),
    ] {
        assert_eq!(reference(&aws(service), remote), Ok(format!("store_vault://{expected}")), "{remote}");
    }
    for (store, remote, words) in [
        (vault("path: secret,"), "{property: p}", "needs `key`"),
        (vault("path: secret,"), "{key: a, version: latest}", "must be a whole number"),
        (vault("version: v1,"), "{key: secret/a, version: 1}", "goes with version v2"),
        (vault("path: secret,"), "{key: a, version: '0'}", "must be a whole number from 1"),
        (
            vault("path: secret,"),
            "{key: a, version: '99999999999999999999'}",
            "must be a whole number from 1",
        ),
        (vault("path: secret,"), "{key: secret/data/}", "below its mount"),
        (vault("path: secret,"), "{key: /}", "below its mount"),
        (vault("version: v1,"), "{key: a}", "below its mount"),
        (vault(""), "{key: a}", "below its mount"),
        (vault(""), "{key: /secret/a}", "must begin with the mount"),
        (aws("SecretsManager"), "{key: a, version: uuid/7}", "an id of 32 to 64 characters"),
        (aws("ParameterStore"), "{key: a, version: 0}", "must be a whole number from 1"),
        (aws("ParameterStore"), "{key: a/}", "the name of one parameter"),
        (vault("path: secret,"), "{key: ../a}", "segment"),
        (vault("path: secret,"), "{key: \"a\\u0007b\"}", "control character"),
        (vault("path: secret,"), "{key: a, property: 'users.#.name'}", "reads no queries"),
        (vault("path: secret,"), "{key: a, property: '@this'}", "reads no queries"),
        (vault("path: secret,"), "{key: a, metadataPolicy: Fetch}", "must be None"),
        (vault("path: secret,"), "{key: a, decodingStrategy: Auto}", "is not guessed"),
        (vault("path: secret,"), "{key: a, conversionStrategy: Other}", "must be Default or Unicode"),
        (vault("path: secret,"), "{key: a, unknown: b}", "unknown key `unknown`"),
        (vault("version: v3,"), "{key: a/b}", "must be v1 or v2"),
        (vault("headers: {a: b},"), "{key: a/b}", "does not do this"),
        (vault("tls: {},"), "{key: a/b}", "client_cert_file"),
    ] {
        assert_mistake(reference(&store, remote), words);
    }
}

#[test]
fn a_secret_s_files_are_those_of_its_keys_or_of_its_template() {
    let files = |lines: &str| delivery(lines).map(|delivery| delivery["files"].clone());
    let data = "  data: [{secretKey: a, remoteRef: {key: x, property: p}}, {secretKey: tls.crt, remoteRef: {key: y, decodingStrategy: Base64, property: c}}, {secretKey: whole, remoteRef: {key: y}}]\n";
    assert_eq!(
        files(data),
        Ok(json!([
            {"path": "a", "value": "{{ a }}"},
            {"path": "tls.crt", "value": "{{ tls_crt | b64decode }}"},
            {"path": "whole", "value": "{{ whole | json }}"},
        ]))
    );
    let template = "{type: Opaque, metadata: {labels: {a: b}}, engineVersion: v2, data: {url: 'x://{{ .a }}', a: '{{ .a | upper }}'}";
    assert_eq!(
        files(&format!("{data}  target: {{template: {template}}}}}\n")),
        Ok(json!([
            {"path": "url", "value": "x://{{ a }}"},
            {"path": "a", "value": "{{ a | string | upper }}"},
        ]))
    );
    let merged = files(&format!("{data}  target: {{template: {template}, mergePolicy: Merge}}}}\n")).unwrap();
    let paths: Vec<&str> =
        merged.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["tls.crt", "whole", "url", "a"]);
    assert_eq!(
        files(
            "  dataFrom: [{extract: {key: x}}, {extract: {key: y}}]\n  target: {template: {data: {f: '{{ .a_k }}'}}}\n"
        ),
        Ok(
            json!([{"path": "f", "value": "{{ ((key_1_extract | secret_keys)[\"a_k\"] if (key_1_extract | secret_keys)[\"a_k\"] is defined else (extract | secret_keys)[\"a_k\"]) }}"}])
        )
    );
    assert_mistake(
        files(
            "  dataFrom: [{extract: {key: x}}]\n  target: {template: {data: {f: '{{ index . \"a k\" }}'}}}\n",
        ),
        "is `_` there",
    );
}

#[test]
fn secrets_are_read_again_as_the_manifest_says() {
    let refresh = |lines: &str| {
        delivery(&format!("{lines}  dataFrom: [{{extract: {{key: x}}}}]\n"))
            .map(|delivery| delivery["secrets"]["extract"]["refresh"].as_str().unwrap().to_owned())
    };
    for (lines, expected) in [
        ("", "1h"),
        ("  refreshInterval: 1h30m0s\n", "1h30m"),
        ("  refreshInterval: '0'\n", "never"),
        ("  refreshPolicy: Periodic\n  refreshInterval: 15s\n", "15s"),
        ("  refreshPolicy: CreatedOnce\n  refreshInterval: 15s\n", "never"),
    ] {
        assert_eq!(refresh(lines), Ok(expected.into()), "{lines}");
    }
    assert_mistake(refresh("  refreshInterval: soon\n"), "must be a duration");
    assert_mistake(refresh("  refreshInterval: 99ms\n"), "16:20: ExternalSecret/orders.spec.refreshInterval");
    assert_mistake(refresh("  refreshPolicy: Never\n"), "must be Periodic");
}

#[test]
fn templates_come_out_the_same_or_not_at_all() {
    let template = |source: &str| {
        let source = Value::from(source).to_string();
        delivery(&format!("  data: [{{secretKey: a, remoteRef: {{key: x, property: p}}}}, {{secretKey: b-c, remoteRef: {{key: x}}}}]\n  target: {{template: {{data: {{f: {source}}}}}}}\n"))
            .map(|delivery| delivery["files"][0]["value"].as_str().unwrap().to_owned())
    };
    for (source, expected) in [
        ("plain {% raw %} {# x #} }} ${A}", "plain {{ '{%' }} raw %} {{ '{#' }} x #} }} ${A}"),
        ("{{- .a -}}", "{{- a -}}"),
        ("{{ .a | b64enc }}", "{{ a | b64encode }}"),
        ("{{ .a | toString | b64dec | trim }}", "{{ a | b64decode | string | trim }}"),
        ("{{ b64enc .a }}", "{{ a | b64encode }}"),
        ("{{ quote .a }}", "{{ a | string | json }}"),
        ("{{ index . \"b-c\" | toJson }}", "{{ b_c | json | string | json }}"),
        ("{{ \"{{\" }}{{/* gone */}}", "{{ \"{{\" }}{#  #}"),
        ("{{ .a | replace \"x\" \"\\\"\" }}", "{{ a | string | replace(\"x\", \"\\\"\") }}"),
        ("{{ .a | indent 2 }}", "{{ (\"  \" ~ (a | string | replace(\"\\n\", \"\\n  \"))) }}"),
        (
            "{{ .a | nindent 2 | b64enc }}",
            "{{ (\"\\n  \" ~ (a | string | replace(\"\\n\", \"\\n  \"))) | b64encode }}",
        ),
    ] {
        assert_eq!(template(source), Ok(expected.into()), "{source}");
    }
    for (wrong, words) in [
        ("{{ .missing }}", "there is no key \"missing\""),
        ("{{ .a.b }}", "is not understood"),
        ("{{ . }}", "is not understood"),
        ("{{ $x }}", "is not understood"),
        ("{{ range $k, $v := . }}{{ end }}", "is not understood"),
        ("{{ if .a }}x{{ end }}", "is not understood"),
        ("{{ .a | pkcs12key }}", "is not understood"),
        ("{{ printf \"%s\" .a .a }}", "is not understood"),
        ("{{ .a | indent 1000 }}", "is not understood"),
        ("{{ .a | replace \"\" \"x\" }}", "is not understood"),
        ("{{ .a", "no end"),
        ("{{ .b-c }}", "a sign that is not understood"),
    ] {
        assert_mistake(template(wrong), words);
    }
}

#[test]
fn what_is_not_done_is_refused_by_name_and_all_at_once() {
    let data = "  data: [{secretKey: a, remoteRef: {key: x}}]\n";
    for (lines, words) in [
        ("", "needs `data` or `dataFrom`"),
        ("  dataFrom: [{find: {name: {regexp: a}}}]\n", "write an `extract` for each"),
        ("  dataFrom: [{extract: {key: x}, rewrite: [{}]}]\n", "renames no keys"),
        (
            "  dataFrom: [{sourceRef: {generatorRef: {kind: Password}}, extract: {key: x}}]\n",
            "has no generators",
        ),
        ("  dataFrom: [{extract: {key: x, decodingStrategy: Base64}}]\n", "name each key in `data`"),
        ("  dataFrom: [{extract: {key: x, conversionStrategy: Unicode}}]\n", "must be Default"),
        ("  dataFrom: [{}]\n", "needs `extract`"),
        (
            "  data: [{secretKey: a, remoteRef: {key: x}}, {secretKey: a, remoteRef: {key: y}}]\n",
            "is there twice",
        ),
        ("  data: [{secretKey: ../a, remoteRef: {key: x}}]\n", "a key has at most 253 letters"),
        ("  data: [{secretKey: '..', remoteRef: {key: x}}]\n", "cannot be a file"),
        ("  data: [{secretKey: a}]\n", "needs `remoteRef`"),
        ("  data: [{remoteRef: {key: x}}]\n", "needs `secretKey`"),
        (
            "  data: [{secretKey: a, remoteRef: {key: x}, sourceRef: {storeRef: {name: other}}}]\n",
            "there is no SecretStore \"other\"",
        ),
        (&format!("{data}  target: {{creationPolicy: Merge}}\n"), "must be Owner or Orphan"),
        (&format!("{data}  target: {{deletionPolicy: Delete}}\n"), "must be Retain"),
        (&format!("{data}  target: {{immutable: true}}\n"), "must be false"),
        (&format!("{data}  target: {{name: ../x}}\n"), "must be a name"),
        (&format!("{data}  target: {{manifest: {{}}}}\n"), "makes no objects"),
        (&format!("{data}  target: {{template: {{templateFrom: []}}}}\n"), "write the templates into `data`"),
        (&format!("{data}  target: {{template: {{engineVersion: v1}}}}\n"), "must be v2"),
        (&format!("{data}  target: {{template: {{data: {{../x: z}}}}}}\n"), "a key has at most"),
        (&format!("{data}  syncWindows: {{}}\n"), "unknown key `syncWindows`"),
    ] {
        assert_mistake(delivery(lines), words);
    }
    let all = "apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: orders}
spec:
  secretStoreRef: {name: nowhere, kind: ClusterSecretStore}
  target: {creationPolicy: None}
  dataFrom:
  - find: {}
---
apiVersion: external-secrets.io/v1alpha1
kind: SecretStore
---
apiVersion: external-secrets.io/v1
kind: PushSecret
";
    let mistakes = translate(all).unwrap_err();
    let places: Vec<&str> = mistakes.iter().map(|mistake| mistake.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["5:26", "6:28", "8:11", "10:13", "14:7"], "{mistakes:#?}");
    assert!(
        mistakes[0].contains(
            "ExternalSecret/orders.spec.secretStoreRef.name: there is no ClusterSecretStore \"nowhere\""
        ),
        "{mistakes:#?}"
    );
}

#[test]
fn a_faulty_store_makes_no_mistake_elsewhere() {
    let wrong = STORE.replace("mountPath: kubernetes, role: app", "mountPath: kubernetes");
    let lines = "  data: [{secretKey: a, remoteRef: {key: x}}]\n  dataFrom: [{extract: {key: z}}]\n  target: {template: {data: {f: '{{ .a }}{{ .b }}'}}}\n";
    let text = format!("{wrong}{SECRET}{lines}");
    assert_mistake(translate(&text), "needs `role`");
    let read = Config::parse("a.yaml".as_ref(), &text, &Registry::default(), &Environment::default());
    let mistakes = read.unwrap_err();
    assert_eq!(mistakes.mistakes().len(), 1, "{mistakes}");
}

#[test]
fn a_secret_has_the_store_of_its_own_namespace() {
    let of = |store: &str, secret: &str| {
        let text = format!("{STORE}{SECRET}  dataFrom: [{{extract: {{key: x}}}}]\n")
            .replacen("{name: vault}", &format!("{{name: vault{store}}}"), 1)
            .replace("{name: orders}", &format!("{{name: orders{secret}}}"));
        translate(&text)
    };
    for (store, secret) in
        [("", ", namespace: a"), (", namespace: a", ""), (", namespace: a", ", namespace: a")]
    {
        assert!(of(store, secret).is_ok());
    }
    assert_mistake(of(", namespace: a", ", namespace: b"), "for the namespace \"b\"");
    assert_mistake(translate(&format!("{STORE}{STORE}")), "there are two of that name");
}

#[test]
fn an_entry_has_the_store_of_the_manifest_unless_it_names_one() {
    let other = STORE.replace("{name: vault}", "{name: other}").replace("path: secret", "path: more");
    let delivery = |source: &str, spec: &str| -> Result<[String; 2], Vec<String>> {
        let lines = format!(
            "  data: [{{secretKey: a, sourceRef: {source}, remoteRef: {{key: x}}}}]\n  dataFrom: [{{sourceRef: {source}, extract: {{key: z}}}}]\n"
        );
        let root = translate(&format!("{STORE}{other}{spec}{lines}"))?;
        let secrets = root["deliveries"][0]["secrets"].clone();
        Ok(["a", "extract"].map(|name| secrets[name]["ref"].as_str().unwrap().to_owned()))
    };
    for own in ["{}", "{storeRef: null}", "null"] {
        let expected = ["store_vault://secret/x?kv=2", "store_vault://secret/z?kv=2"].map(str::to_owned);
        assert_eq!(delivery(own, SECRET), Ok(expected), "{own}");
    }
    let expected = ["store_other://more/x?kv=2", "store_other://more/z?kv=2"].map(str::to_owned);
    assert_eq!(delivery("{storeRef: {name: other}}", SECRET), Ok(expected));
    let without = SECRET.replace("  secretStoreRef: {name: vault}\n", "");
    let mistakes = delivery("{}", &without).unwrap_err();
    assert!(mistakes.len() == 2 && mistakes.iter().all(|said| said.contains("has no store")), "{mistakes:?}");
}

#[test]
fn what_manifests_cannot_say_stands_beside_them() {
    let own = "admin: {listen: '127.0.0.1:1'}\nproviders: {mine: {kind: memory}}\n---\n";
    let root = translate(&format!("{own}{STORE}{SECRET}  dataFrom: [{{extract: {{key: x}}}}]\n")).unwrap();
    assert_eq!(root["admin"]["listen"], "127.0.0.1:1");
    let providers: Vec<&String> = root["providers"].as_object().unwrap().keys().collect();
    assert_eq!(providers, ["mine", "store_vault"]);
    let taken = translate(&format!("providers: {{store_vault: {{kind: memory}}}}\n---\n{STORE}"));
    assert_mistake(taken, "two providers have the name `store_vault`");
    assert_mistake(
        translate(&format!("a: 1\n---\nb: 2\n---\n{STORE}")),
        "a second document without `apiVersion`",
    );
    let directory = "metadata: {name: orders, annotations: {keywheel.dev/directory: /run/mine}}";
    let text = format!("{STORE}{SECRET}  dataFrom: [{{extract: {{key: x}}}}]\n")
        .replace("metadata: {name: orders}", directory);
    assert_eq!(translate(&text).unwrap()["deliveries"][0]["directory"], "/run/mine");
    for taken in ["keywheel", "kubernetes.io"] {
        let named =
            format!("{STORE}{SECRET}  dataFrom: [{{extract: {{key: x}}}}]\n  target: {{name: {taken}}}\n");
        assert_mistake(translate(&named), "has the tokens of the pod");
        assert!(translate(&named.replace("metadata: {name: orders}", directory)).is_ok());
    }
}

/// Manifests with every mapping that is read.
const WHOLE: &str = "\
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: vault, annotations: {keywheel.dev/token-file: /t, keywheel.dev/ca-file: /c}}
spec:
  provider:
    vault:
      server: https://vault.test
      path: secret
      caProvider: {type: Secret, name: a, key: b}
      auth: {kubernetes: {role: app, serviceAccountRef: {name: app}, secretRef: {name: a, key: b}}}
---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: jwt}
spec:
  provider:
    vault:
      server: https://vault.test
      auth: {jwt: {role: app, kubernetesServiceAccountToken: {serviceAccountRef: {name: app}}}}
---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: role, annotations: {keywheel.dev/role-id-file: /r, keywheel.dev/secret-id-file: /s}}
spec:
  provider:
    vault:
      server: https://vault.test
      auth: {appRole: {path: approle, roleRef: {name: a, key: b}, secretRef: {name: a, key: b}}}
---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: token, annotations: {keywheel.dev/token-file: /t}}
spec: {provider: {vault: {server: https://vault.test, auth: {tokenSecretRef: {name: a, key: b}}}}}
---
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: aws}
spec:
  provider:
    aws: {service: SecretsManager, region: eu-west-1, auth: {jwt: {serviceAccountRef: {name: app}}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: orders, annotations: {keywheel.dev/directory: /run/secrets/orders}}
spec:
  secretStoreRef: {name: vault}
  data:
  - secretKey: a
    sourceRef: {storeRef: {name: aws, kind: ClusterSecretStore}}
    remoteRef: {key: x}
  dataFrom:
  - sourceRef: {storeRef: {name: vault}}
    extract: {key: z}
  target: {template: {engineVersion: v2, data: {f: '{{ .a }}'}}}
";

/// Adds an entry to the mapping of `node` that is `at`th; returns its path, or how many mappings there are.
fn add_unknown(node: &mut Node, at: &mut usize, path: &str) -> Option<String> {
    let place = node.place;
    let mut within: Vec<(String, &mut Node)> = match &mut node.content {
        Content::Map(entries) => {
            if *at == 0 {
                let content = Content::Text("1".into());
                entries.push(("unheardOf".into(), place, Node { content, place, expanded: false }));
                return Some(path.to_owned());
            }
            *at -= 1;
            entries.iter_mut().map(|(key, _, node)| (key.clone(), node)).collect()
        }
        Content::List(items) => {
            items.iter_mut().enumerate().map(|(index, node)| (index.to_string(), node)).collect()
        }
        _ => return None,
    };
    within.iter_mut().find_map(|(key, node)| add_unknown(node, at, &format!("{path}.{key}")))
}

#[test]
fn a_field_that_is_not_known_is_a_mistake_wherever_it_is() {
    let read = |documents: Vec<Node>| {
        let mistakes = Mistakes::default();
        read_manifests(documents, &Environment::default(), &mistakes);
        mistakes.into_sorted()
    };
    let documents = || serde_saphyr::from_multiple::<Node>(WHOLE).unwrap();
    assert_eq!(read(documents()), []);
    // What is there for the cluster, and keys that are the user's own.
    let is_free = |path: &str| path.ends_with(".metadata") || path.ends_with(".annotations");
    let mut tried = Vec::new();
    for document in 0..documents().len() {
        for at in 0.. {
            let mut documents = documents();
            let Some(path) = add_unknown(&mut documents[document], &mut { at }, "") else { break };
            let mistakes = read(documents);
            let names_it =
                |mistake: &Mistake| format!("{} {}", mistake.setting, mistake.message).contains("unheardOf");
            match is_free(&path) || path.ends_with(".template.data") {
                true => assert_eq!(mistakes, [], "{path}"),
                false => assert!(mistakes.iter().any(names_it), "{path}: {mistakes:#?}"),
            }
            tried.push(path);
        }
    }
    assert_eq!(tried.len(), 62, "{tried:#?}");
}

/// Manifests with a part at random taken out, put elsewhere or made something else.
fn disturbed() -> impl Strategy<Value = String> {
    let whole = format!(
        "{STORE}{SECRET}  refreshInterval: 1m\n  data:\n  - secretKey: a\n    remoteRef: {{key: x, property: p, version: '1', decodingStrategy: Base64}}\n  dataFrom:\n  - extract: {{key: y}}\n  target:\n    name: n\n    template: {{data: {{f: '{{{{ .a | upper }}}}'}}}}\n"
    );
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let count = lines.len();
    let change = (
        0..count,
        0..count,
        prop_oneof![Just(0_u8), Just(1), Just(2), Just(3)],
        "[a-z.{}/:\\[\\]\"$|-]{0,12}",
    );
    prop::collection::vec(change, 0..4).prop_map(move |changes| {
        let mut lines = lines.clone();
        for (at, other, how, text) in changes {
            match how {
                0 => lines[at].clear(),
                1 => lines.swap(at, other),
                2 => lines[at] = lines[other].clone(),
                _ => lines[at].push_str(&text),
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_no_file_leaves_its_directory(text in disturbed()) {
        if let Ok(documents) = serde_saphyr::from_multiple::<Node>(&text) {
            let mistakes = Mistakes::default();
            let root = read_manifests(documents, &Environment::default(), &mistakes);
            if mistakes.into_sorted().is_empty() {
                let root = shown(&root);
                for file in root["deliveries"].as_array().into_iter().flatten().flat_map(|delivery| delivery["files"].as_array()).flatten() {
                    let path = file["path"].as_str().or(file["fields_of"].as_str()).unwrap();
                    prop_assert!(!path.contains('/') && !path.starts_with(".."), "{path}");
                }
            }
        }
        let read = Config::parse("a.yaml".as_ref(), &text, &Registry::default(), &Environment::default());
        prop_assert!(read.is_ok() || !read.unwrap_err().mistakes().is_empty());
    }
}
