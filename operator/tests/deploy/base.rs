//! What `kubectl apply -k` installs: complete, restricted, and no more than is needed.

use serde_json::{Value, json};

use super::manifests::{base, find, named, text};
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
    let binds = |object: &&Value| {
        object["kind"].as_str().unwrap().ends_with("Binding")
            && object["subjects"].to_string().contains("\"keywheel-operator\"")
    };
    assert_eq!(objects.iter().filter(binds).count(), 1);
}

#[test]
fn the_controller_may_see_schedules_and_say_how_they_stand() {
    let objects = base();
    let rules = |kind: &str| named(&objects, kind, CONTROLLER)["rules"].take();
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let expected = json!([
        rule("keywheel.dev", "rotationschedules", &["get", "list", "watch"]),
        rule("keywheel.dev", "rotationschedules/status", &["patch"]),
        rule("events.k8s.io", "events", &["create"]),
    ]);
    assert_eq!(rules("ClusterRole"), expected);
    let lease = named(&objects, "Lease", CONTROLLER);
    let mut expected = rule("coordination.k8s.io", "leases", &["get", "update"]);
    expected["resourceNames"] = json!([lease["metadata"]["name"]]);
    assert_eq!(rules("Role"), json!([expected]));
    assert!(
        flags::help("controller").contains(&format!("[default: {CONTROLLER}]")),
        "its Lease is the default"
    );
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let binding = named(&objects, kind, CONTROLLER);
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": "keywheel"}])
        );
    }
}

#[test]
fn the_controller_s_pods_are_restricted_and_its_flags_exist() {
    let objects = base();
    let deployment = named(&objects, "Deployment", CONTROLLER);
    let template = &deployment["spec"]["template"];
    assert_eq!(restricted::violations(template), [""; 0]);
    flags::check(&deployment);
    assert_eq!(template["spec"]["serviceAccountName"], CONTROLLER);
    // Twenty seconds for what is under way, and ten for the rest.
    let grace = template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(flags::help("controller").contains("[default: 20s]") && grace >= 30);
    let budget = named(&objects, "PodDisruptionBudget", CONTROLLER);
    let policy = named(&objects, "NetworkPolicy", CONTROLLER);
    let labels = &template["metadata"]["labels"];
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"],
        labels["app.kubernetes.io/name"]
    );
}

#[test]
fn the_definitions_are_those_of_the_program() {
    let program = keywheel_operator::controller::definitions().unwrap();
    for folder in ["base", "helm/keywheel-operator"] {
        let file = format!("{folder}/crds/rotationschedules.yaml");
        assert!(text(&file) == program, "{file} is another one; `cargo xtask crds` writes it");
    }
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
    assert!(flags::help("inject").contains("[default: 5s]") && grace >= 20);
}

const CONTROLLER: &str = "keywheel-controller";
