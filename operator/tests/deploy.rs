//! What `kubectl apply -k` installs: complete, restricted, and no more than is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keywheel_tests::built;
use serde_json::{Value, json};

#[path = "inject/restricted.rs"]
mod restricted;

mod pods {
    //! What the rules of the standard are read with.
    use serde_json::Value;

    pub(crate) fn containers<'a>(pod: &'a Value, list: &str) -> Vec<&'a Value> {
        pod["spec"][list].as_array().into_iter().flatten().collect()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base")
}

fn objects() -> Vec<Value> {
    let kustomization: Value =
        serde_saphyr::from_str(&fs::read_to_string(folder().join("kustomization.yaml")).unwrap()).unwrap();
    let files = kustomization["resources"].as_array().unwrap();
    let listed: BTreeSet<&str> = files.iter().map(|file| file.as_str().unwrap()).collect();
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let there: BTreeSet<&str> =
        there.iter().map(String::as_str).filter(|file| *file != "kustomization.yaml").collect();
    assert_eq!(listed, there);
    let texts = listed.iter().map(|file| fs::read_to_string(folder().join(file)).unwrap());
    let parts = |text: String| text.split("\n---\n").map(str::to_owned).collect::<Vec<_>>();
    texts.flat_map(parts).map(|text| serde_saphyr::from_str(&text).unwrap()).collect()
}

fn object(kind: &str) -> Value {
    objects().into_iter().find(|object| object["kind"] == kind).unwrap()
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
    let kinds: Vec<Value> = objects().into_iter().map(|mut object| object["kind"].take()).collect();
    assert!(
        !kinds.contains(&"Role".into()) && kinds.iter().filter(|kind| **kind == "ClusterRole").count() == 1
    );
}

#[test]
fn its_own_pods_are_restricted_and_its_flags_exist() {
    let namespace = object("Namespace");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let deployment = object("Deployment");
    let template = &deployment["spec"]["template"];
    assert_eq!(restricted::violations(template), [""; 0]);
    let container = &template["spec"]["containers"][0];
    let help = Command::new(built::program("keywheel-operator")).args(["inject", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for argument in container["args"].as_array().unwrap() {
        let argument = argument.as_str().unwrap();
        let flag = argument.split('=').next().unwrap();
        assert!(argument == "inject" || help.contains(flag), "{flag}");
    }
    assert!(template["metadata"]["labels"]["keywheel.dev/inject"].is_null());
    let grace = template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(help.contains("[default: 5s]") && grace >= 20);
}
