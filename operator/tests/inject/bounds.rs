//! What is more than a pod has is refused before it costs anything: admission comes before the API server's own bounds.

use keywheel_operator::inject::Verdict;
use serde_json::{Value, json};

use super::pods::{ask, injector};

/// Asks for a pod that has `annotations` beside one secret.
fn refused(annotations: &[(String, String)], containers: usize) -> String {
    let mut all = json!({
        "keywheel.dev/provider-address": "https://vault.test", "keywheel.dev/role": "r", "keywheel.dev/secret-db": "vault://secret/a",
    });
    for (key, value) in annotations {
        all[format!("keywheel.dev/{key}")] = value.as_str().into();
    }
    let containers: Vec<Value> =
        (0..containers).map(|number| json!({"name": format!("c-{number}")})).collect();
    let metadata = json!({"labels": {"keywheel.dev/inject": "true"}, "annotations": all});
    match ask(&injector(false), &json!({"metadata": metadata, "spec": {"containers": containers}})).verdict {
        Verdict::Refused(reason) => reason,
        Verdict::Injected(_) => "injected".into(),
        Verdict::Untouched => "untouched".into(),
    }
}

fn one(key: &str, value: impl Into<String>) -> [(String, String); 1] {
    [(key.into(), value.into())]
}

#[test]
fn annotations_have_256_kib() {
    assert_eq!(refused(&one("template-a", "x".repeat(100 << 10)), 1), "injected");
    assert_eq!(refused(&one("other", "x".repeat(257 << 10)), 1), "the annotations have more than 256 KiB");
}

#[test]
fn a_pod_has_256_containers_and_16_directories() {
    assert_eq!(refused(&[], 256), "injected");
    assert_eq!(refused(&[], 257), "the pod has more than 256 containers");
    let directories = |count: usize| -> Vec<(String, String)> {
        let both = |number| {
            let secret = (format!("secret-s{number}"), "vault://secret/a".to_owned());
            [secret, (format!("directory-s{number}"), format!("/s/{number}"))]
        };
        (0..count).flat_map(both).collect()
    };
    assert_eq!(refused(&directories(15), 1), "injected");
    assert_eq!(refused(&directories(16), 1), "a pod has at most 16 directories of secrets");
    let names = |count| one("containers", vec!["c-0"; count].join(","));
    assert_eq!(refused(&names(64), 1), "injected");
    assert!(refused(&names(65), 1).contains("64 at most"));
}

#[test]
fn what_is_written_in_yaml_has_no_alias_and_is_not_large() {
    let refused = |value: &str| refused(&one("on-change-app", value), 1);
    assert_eq!(refused("{http: {url: 'http://127.0.0.1/'}}"), "injected");
    let nested = format!("{{a: {}{}}}", "[".repeat(40), "]".repeat(40));
    let many = format!("{{a: [{}]}}", "1,".repeat(3_000));
    for bad in
        ["{a: &a [1], b: *a}", nested.as_str(), many.as_str(), &format!("{{a: {}}}", "x".repeat(65 << 10))]
    {
        assert!(refused(bad).contains("not valid YAML"), "{}", refused(bad));
    }
}
