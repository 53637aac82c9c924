//! What `kubectl apply -k` installs: complete, restricted, and no more than is needed.

use serde_json::{Value, json};

use super::manifests::{base, find, kinds};
use super::{flags, restricted};

fn object(kind: &str) -> Value {
    find(&base(), kind)
}

#[test]
fn the_webhook_sees_pods_that_ask_for_it_and_no_others() {
    let configuration = object("MutatingWebhookConfiguration");
    let webhook = &configuration["webhooks"][0];
    assert_eq!(webhook["objectSelector"], json!({"matchLabels": {"keywheel.dev/inject": "true"}}));
    assert_eq!((&webhook["failurePolicy"], &webhook["sideEffects"]), (&"Fail".into(), &"None".into()));
    assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "Namespaced"}]);
    assert_eq!(webhook["rules"], rules);
    let service = object("Service");
    assert_eq!(webhook["clientConfig"]["service"]["name"], service["metadata"]["name"]);
    assert_eq!(service["spec"]["selector"], object("Deployment")["spec"]["template"]["metadata"]["labels"]);
}

#[test]
fn the_webhook_may_do_one_thing() {
    let rules = object("ClusterRole")["rules"].take();
    let name = object("MutatingWebhookConfiguration")["metadata"]["name"].take();
    let expected = json!([{
        "apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"], "resourceNames": [name],
        "verbs": ["get", "patch"],
    }]);
    assert_eq!(rules, expected);
    let objects = base();
    let kinds = kinds(&objects);
    assert!(!kinds.contains(&"Role") && kinds.iter().filter(|kind| **kind == "ClusterRole").count() == 1);
}

#[test]
fn its_own_pods_are_restricted_and_its_flags_exist() {
    let namespace = object("Namespace");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let deployment = object("Deployment");
    let template = &deployment["spec"]["template"];
    assert_eq!(restricted::violations(template), [""; 0]);
    flags::check(&deployment);
    assert!(template["metadata"]["labels"]["keywheel.dev/inject"].is_null());
    let grace = template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(flags::help().contains("[default: 5s]") && grace >= 20);
}
