//! The policies: one meaning, in the three languages that clusters have for them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::documents;

const NAMES: [&str; 2] = ["keywheel-no-secrets-in-environment", "keywheel-secrets-in-memory"];

/// The objects of one file that are of a kind, in the order of [`NAMES`].
fn of(file: &str, kind: &str) -> [Value; 2] {
    let documents = documents(&format!("policies/{file}"));
    let found: Vec<Value> = documents.into_iter().filter(|object| object["kind"] == kind).collect();
    found.try_into().unwrap()
}

#[test]
fn they_say_the_same_in_every_variant() {
    let own = of("kubernetes.yaml", "ValidatingAdmissionPolicy").map(|policy| policy["spec"].clone());
    let kyverno = of("kyverno.yaml", "ValidatingPolicy").map(|policy| policy["spec"].clone());
    let gatekeeper = of("gatekeeper/templates.yaml", "ConstraintTemplate")
        .map(|template| template["spec"]["targets"][0]["code"][0]["source"].clone());
    for ((own, kyverno), gatekeeper) in own.iter().zip(kyverno).zip(gatekeeper) {
        // Gatekeeper's own name for it, which is there when an object is deleted as well.
        let gatekeeper = gatekeeper.to_string().replace("variables.anyObject", "object");
        let gatekeeper: Value = serde_json::from_str(&gatekeeper).unwrap();
        for key in ["variables", "validations", "failurePolicy"] {
            assert!(!own[key].is_null() && own[key] == kyverno[key] && own[key] == gatekeeper[key], "{key}");
        }
        assert_eq!(own["matchConstraints"]["resourceRules"], kyverno["matchConstraints"]["resourceRules"]);
    }
}

#[test]
fn they_see_new_pods_and_new_containers_in_old_ones() {
    let [environment, memory] = of("kubernetes.yaml", "ValidatingAdmissionPolicy")
        .map(|policy| policy["spec"]["matchConstraints"].clone());
    let rule = |operation: &str, resource: &str| json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": [resource]});
    let (created, updated) = (rule("CREATE", "pods"), rule("UPDATE", "pods/ephemeralcontainers"));
    assert_eq!(environment, json!({"resourceRules": [created, updated]}));
    assert_eq!(memory, json!({"resourceRules": [created]}));
}

#[test]
fn each_is_bound_and_refuses_outside_of_the_same_namespaces() {
    let namespaces = json!({"matchExpressions": [
        {"key": "keywheel.dev/ignore", "operator": "DoesNotExist"},
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
    ]});
    for (name, binding) in NAMES.iter().zip(of("kubernetes.yaml", "ValidatingAdmissionPolicyBinding")) {
        assert_eq!(binding["apiVersion"], "admissionregistration.k8s.io/v1");
        let spec = &binding["spec"];
        assert_eq!((&spec["policyName"], &spec["validationActions"]), (&json!(name), &json!(["Deny"])));
        assert_eq!(spec["matchResources"]["namespaceSelector"], namespaces);
    }
    for (name, policy) in NAMES.iter().zip(of("kyverno.yaml", "ValidatingPolicy")) {
        assert_eq!(
            (&policy["apiVersion"], &policy["metadata"]["name"]),
            (&json!("policies.kyverno.io/v1"), &json!(name))
        );
        let spec = &policy["spec"];
        assert_eq!(spec["validationActions"], json!(["Deny"]));
        assert_eq!(spec["matchConstraints"]["namespaceSelector"], namespaces);
        assert_eq!(spec["autogen"]["podControllers"]["controllers"], json!([]));
    }
    let templates = of("gatekeeper/templates.yaml", "ConstraintTemplate");
    let constraints = documents("policies/gatekeeper/constraints.yaml");
    assert_eq!(constraints.len(), templates.len());
    for ((name, template), constraint) in NAMES.iter().zip(templates).zip(constraints) {
        assert_eq!(template["apiVersion"], "templates.gatekeeper.sh/v1");
        let kind = template["spec"]["crd"]["spec"]["names"]["kind"].as_str().unwrap();
        assert_eq!(template["metadata"]["name"], kind.to_lowercase(), "Gatekeeper asks for it");
        assert_eq!(template["spec"]["targets"][0]["code"][0]["engine"], "K8sNativeValidation");
        assert_eq!(constraint["apiVersion"], "constraints.gatekeeper.sh/v1beta1");
        assert_eq!((&constraint["kind"], &constraint["metadata"]["name"]), (&json!(kind), &json!(name)));
        let spec = &constraint["spec"];
        assert_eq!(spec["enforcementAction"], "deny");
        assert_eq!(spec["match"]["kinds"], json!([{"apiGroups": [""], "kinds": ["Pod"]}]));
        assert_eq!(spec["match"]["namespaceSelector"], namespaces);
    }
}

#[test]
fn variables_are_made_before_they_are_used() {
    for policy in of("kubernetes.yaml", "ValidatingAdmissionPolicy") {
        let mut known = BTreeSet::new();
        for variable in policy["spec"]["variables"].as_array().unwrap() {
            assert_eq!(used(&variable["expression"]).difference(&known).next(), None, "{variable}");
            known.insert(variable["name"].as_str().unwrap().to_owned());
        }
        let validations = policy["spec"]["validations"].as_array().unwrap();
        let all: BTreeSet<String> = validations.iter().flat_map(used).collect();
        assert_eq!(all.difference(&known).next(), None);
    }
}

/// Returns the variables that an expression names.
fn used(expression: &Value) -> BTreeSet<String> {
    let text = expression.to_string();
    let names = text.split("variables.").skip(1);
    names
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().map(str::to_owned))
        .collect()
}
