//! Whatever a pod says, its answer is one that may be given.

use keywheel_operator::inject::Verdict;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::pods::{annotation, ask, check, injector, patched};
use super::restricted::violations;

/// Values that make sense somewhere, values that try to be more than a value, and anything.
fn value() -> impl Strategy<Value = String> {
    let known = [
        "true",
        "agent",
        "run",
        "once",
        "app",
        "app,side",
        "vault://secret/a#b",
        "vault://secret/a",
        "aws://a",
        "first",
        "last",
        "1000",
        "10m",
        "5s",
        "0440",
        "/secrets",
        "/run/keywheel",
        "64Mi",
        "{restart: {}}",
        "{http: \"http://127.0.0.1/\"}",
        "{{ db.a }}",
        "https://vault.test",
        "orders",
        "x\", \"kind\": \"file",
        "x\nproviders:\n  vault: {}",
        "}}]}",
        "${HOME}",
        "$${A}",
        "{{ db }}{% endfor %}",
        "secret/data/a",
        "&a [*a, *a]",
        "{{ with secret \"secret/data/a\" }}{{ .Data.data.b }}{{ end }}",
        "../../etc",
        "- a",
        "'",
        "\"",
        "\\",
        "{\"a\": 1}",
    ];
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,24}",
        1 => any::<String>(),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let own = [
        "config",
        "containers",
        "mode",
        "directory",
        "volume-size",
        "init-order",
        "run-as-user",
        "run-as-group",
        "token-audience",
        "token-ttl",
        "image",
        "log-level",
        "limits-memory",
        "provider-address",
        "namespace",
        "ca-config-map",
        "auth-method",
        "auth-mount",
        "role",
        "overlap",
        "verify",
        "revoke-on-shutdown",
        "secret-db",
        "secret-api",
        "template-db",
        "template-app.env",
        "file-db",
        "mode-db",
        "directory-db",
        "refresh-db",
        "max-stale-db",
        "on-change-a",
        "status",
        "generated-config",
        "secret-a-b",
        "secret-a_b",
        "other",
    ];
    let theirs = [
        "agent-inject",
        "role",
        "service",
        "agent-inject-secret-db",
        "agent-inject-template-db",
        "agent-inject-command-db",
        "agent-inject-perms-db",
        "agent-inject-file-db",
        "secret-volume-path-db",
        "agent-pre-populate-only",
        "secret-volume-path",
        "namespace",
        "other",
    ];
    prop_oneof![
        4 => proptest::sample::select(own.to_vec()).prop_map(|key| format!("keywheel.dev/{key}")),
        1 => proptest::sample::select(theirs.to_vec()).prop_map(|key| format!("vault.hashicorp.com/{key}")),
        1 => "keywheel.dev/(secret|mode|file|template)-[a-z.A-Z_0-9/~-]{0,8}",
    ]
}

fn context() -> impl Strategy<Value = Value> {
    let number = || prop_oneof![Just(Value::Null), (0..3i64).prop_map(|number| json!(number * 1000))];
    (number(), number(), any::<bool>()).prop_map(|(user, group, strict)| {
        let mut context = Map::new();
        for (key, value) in [("runAsUser", user), ("runAsGroup", group)] {
            if !value.is_null() {
                context.insert(key.into(), value);
            }
        }
        if strict {
            context.insert("allowPrivilegeEscalation".into(), false.into());
            context.insert("capabilities".into(), json!({"drop": ["ALL"]}));
            context.insert("runAsNonRoot".into(), true.into());
            context.insert("seccompProfile".into(), json!({"type": "RuntimeDefault"}));
        }
        context.into()
    })
}

fn container() -> impl Strategy<Value = Value> {
    (context(), any::<bool>(), any::<bool>()).prop_map(|(context, has_command, has_mounts)| {
        let mut container = json!({"image": "app:1", "securityContext": context});
        if has_command {
            container["command"] = json!(["/bin/app", "-v"]);
        }
        if has_mounts {
            container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
        }
        container
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let policy = proptest::sample::select(vec!["Always", "Never", "OnFailure"]);
    (btree_map(key(), value(), 0..8), vec(container(), 1..4), vec(container(), 0..3), any::<bool>(), policy).prop_map(
        |(annotations, containers, init, is_plain, policy)| {
            let named = |list: Vec<Value>, prefix: &str| -> Vec<Value> {
                let name = |(number, mut container): (usize, Value)| {
                    container["name"] = if number == 0 { prefix.into() } else { format!("{prefix}-{number}").into() };
                    container
                };
                list.into_iter().enumerate().map(name).collect()
            };
            let mut all: Map<String, Value> = annotations.into_iter().map(|(key, value)| (key, value.into())).collect();
            if is_plain {
                for (key, value) in [("secret-db", "vault://secret/a"), ("role", "r"), ("provider-address", "https://v.test")] {
                    all.insert(format!("keywheel.dev/{key}"), value.into());
                }
            }
            let mut spec = json!({"containers": named(containers, "app"), "restartPolicy": policy, "volumes": [{"name": "data", "emptyDir": {}}]});
            if !init.is_empty() {
                spec["initContainers"] = named(init, "init").into();
            }
            json!({"metadata": {"name": "p", "labels": {"keywheel.dev/inject": "true"}, "annotations": all}, "spec": spec})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_injected_pod_is_sound(pod in pod(), is_old: bool) {
        let injector = injector(is_old);
        let answer = ask(&injector, &pod);
        prop_assert_eq!(&answer, &ask(&injector, &pod), "the same pod has the same answer");
        if let Verdict::Injected(patch) = &answer.verdict {
            check(&injector, &pod, patch);
            prop_assert_eq!(violations(&patched(&pod, patch)), violations(&pod));
        }
    }

    #[test]
    fn a_value_stays_one_value(role in value(), namespace in value(), reference in "[a-z]{1,8}") {
        let annotations = json!({
            "keywheel.dev/provider-address": "https://vault.test",
            "keywheel.dev/role": role,
            "keywheel.dev/namespace": namespace,
            "keywheel.dev/secret-db": format!("vault://secret/{reference}"),
        });
        let pod = json!({"metadata": {"labels": {"keywheel.dev/inject": "true"}, "annotations": annotations}, "spec": {"containers": [{"name": "a"}]}});
        let Verdict::Injected(patch) = ask(&injector(false), &pod).verdict else { return Ok(()) };
        let after = patched(&pod, &patch);
        let written: Value = serde_json::from_str(annotation(&after, "keywheel.dev/generated-config").unwrap()).unwrap();
        let mut expected = json!({
            "providers": {"vault": {"kind": "vault", "address": "https://vault.test", "namespace": namespace.replace("${", "$${"), "auth": {
                "method": "kubernetes", "mount": "kubernetes", "role": role.replace("${", "$${"), "token_file": "/var/run/secrets/keywheel/token",
            }}},
            "state_directory": "/run/keywheel/state",
            "admin": {"listen": "unix:/run/keywheel/admin.sock"},
        });
        expected["deliveries"] = written["deliveries"].clone();
        prop_assert_eq!(written, expected);
    }
}
