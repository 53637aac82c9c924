//! What Helm installs: the base, and what the values make of it.

use serde_json::{Value, json};

use super::helm::Helm;
use super::manifests::{base, find, folder, kinds, named};
use super::{flags, restricted};

fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| (object["kind"].to_string(), object["metadata"]["name"].to_string()));
    objects
}

/// The base but for its namespace, which Helm makes before it looks at a chart, and definitions, which are in the chart as they are.
fn expected() -> Vec<Value> {
    let is_rendered = |object: &Value| {
        !["CustomResourceDefinition", "Namespace"].contains(&object["kind"].as_str().unwrap())
    };
    base().into_iter().filter(is_rendered).collect()
}

fn render(values: Value) -> Vec<Value> {
    Helm::start().template("keywheel", &values).unwrap()
}

#[test]
fn without_values_it_is_the_base() {
    assert_eq!(sorted(render(json!({}))), sorted(expected()));
}

#[test]
fn helm_finds_nothing_to_say_against_it() {
    assert_eq!(Helm::start().lint(), [Value::Null; 0]);
}

#[test]
fn cert_manager_takes_the_place_of_the_webhooks_own_certificates() {
    let objects = render(json!({"certManager": {"enabled": true}}));
    let of_cert_manager = |objects: Vec<Value>| {
        let is_one = |object: &Value| ["Issuer", "Certificate"].contains(&object["kind"].as_str().unwrap());
        sorted(objects.into_iter().filter(is_one).collect())
    };
    assert_eq!(of_cert_manager(objects.clone()), of_cert_manager(folder("overlays/cert-manager")));
    let roles = objects.iter().filter(|object| object["kind"].as_str().unwrap().starts_with("ClusterRole"));
    assert!(roles.into_iter().all(|role| role["metadata"]["name"] == "keywheel-controller"));
    let deployment = find(&objects, "Deployment");
    let arguments = flags::check(&deployment);
    assert!(!arguments.iter().any(|argument| argument.starts_with("--webhook-configuration")));
    assert!(arguments.contains(&"--key-file=/etc/keywheel/certificate/tls.key".to_owned()));
    assert_eq!(restricted::violations(&deployment["spec"]["template"]), [""; 0]);
    let webhook = find(&objects, "MutatingWebhookConfiguration");
    let annotations = json!({"cert-manager.io/inject-ca-from": "keywheel/keywheel-operator"});
    assert_eq!(webhook["metadata"]["annotations"], annotations);
}

#[test]
fn monitoring_adds_what_its_overlay_has() {
    let objects = render(json!({"monitoring": {"enabled": true}}));
    assert_eq!(sorted(objects), sorted([expected(), folder("overlays/monitoring")].concat()));
    let objects = render(json!({"monitoring": {"enabled": true, "labels": {"release": "prometheus"}}}));
    for kind in ["PrometheusRule", "ServiceMonitor"] {
        assert_eq!(find(&objects, kind)["metadata"]["labels"]["release"], "prometheus");
    }
}

#[test]
fn network_policies_and_the_disruption_budget_come_and_go() {
    let objects =
        render(json!({"networkPolicy": {"enabled": false}, "replicas": 1, "controller": {"replicas": 1}}));
    let kinds = kinds(&objects);
    assert!(!kinds.contains(&"NetworkPolicy") && !kinds.contains(&"PodDisruptionBudget"), "{kinds:?}");
    assert_eq!(find(&objects, "Deployment")["spec"]["replicas"], 1);
    let from = json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}]);
    let objects = render(json!({"networkPolicy": {"apiServer": from}}));
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    let policies = policies.filter(|policy| policy["metadata"]["name"] == "keywheel-operator");
    let ingress: Vec<&Value> = policies.filter_map(|policy| policy["spec"].get("ingress")).collect();
    let expected = json!([{"ports": [{"port": "https"}], "from": from}, {"ports": [{"port": "probes"}]}]);
    assert_eq!(ingress, [&expected]);
}

#[test]
fn a_pod_is_as_the_values_say() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let values = json!({
        "image": {"repository": "registry.shop.test/operator", "digest": digest, "tag": "ignored"},
        "sidecarImage": {"repository": "registry.shop.test/keywheel", "tag": "2"},
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "registry"}],
        "resources": {"limits": {"cpu": "1", "memory": null}},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "flags": ["--token-ttl=20m", "--resource=limits-memory=32Mi"],
        "webhook": {"timeoutSeconds": 9},
    });
    let objects = render(values.clone());
    let deployment = find(&objects, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], format!("registry.shop.test/operator@{digest}"));
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1"}})
    );
    for key in ["imagePullSecrets", "nodeSelector", "tolerations", "affinity"] {
        assert_eq!(pod[key], values[key], "{key}");
    }
    let arguments = flags::check(&deployment);
    assert_eq!(arguments[1], "--image=registry.shop.test/keywheel:2");
    assert!(arguments.ends_with(&["--token-ttl=20m".into(), "--resource=limits-memory=32Mi".into()]));
    assert_eq!(find(&objects, "MutatingWebhookConfiguration")["webhooks"][0]["timeoutSeconds"], 9);
}

#[test]
fn the_controller_is_as_the_values_say_or_is_not_there() {
    let mut helm = Helm::start();
    let flag = "--provider-address=https://vault.shop.test";
    let egress = json!([{"ports": [{"port": 8200}], "to": [{"ipBlock": {"cidr": "10.0.0.9/32"}}]}]);
    let values = json!({
        "image": {"repository": "registry.shop.test/operator", "tag": "2"}, "tolerations": [{"operator": "Exists"}],
        "controller": {"replicas": 3, "flags": [flag], "resources": {"limits": {"memory": "64Mi"}}},
        "networkPolicy": {"controllerEgress": egress},
    });
    let objects = helm.template("keywheel", &values).unwrap();
    let deployment = named(&objects, "Deployment", "keywheel-controller");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.shop.test/operator:2");
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "64Mi");
    assert_eq!(pod["tolerations"], values["tolerations"]);
    assert!(flags::check(&deployment).contains(&flag.to_owned()));
    let policy = named(&objects, "NetworkPolicy", "keywheel-controller");
    assert_eq!(policy["spec"]["egress"][2], egress[0]);
    let none = helm
        .template("keywheel", &json!({"controller": {"enabled": false}, "monitoring": {"enabled": true}}))
        .unwrap();
    assert!(
        none.iter()
            .all(|object| !object["metadata"]["name"].as_str().unwrap().starts_with("keywheel-controller"))
    );
}

#[test]
fn another_namespace_is_one_throughout() {
    let values = json!({"certManager": {"enabled": true}, "monitoring": {"enabled": true}});
    for values in [json!({}), values] {
        let objects = Helm::start().template("platform", &values).unwrap();
        for object in &objects {
            let namespace = object["metadata"]["namespace"].as_str();
            assert!(namespace.is_none_or(|namespace| namespace == "platform"), "{object}");
            let text = object.to_string();
            assert!(!text.contains("\"keywheel\",\"path") && !text.contains(".keywheel.svc"), "{text}");
        }
        let webhook = find(&objects, "MutatingWebhookConfiguration");
        assert_eq!(webhook["webhooks"][0]["clientConfig"]["service"]["namespace"], "platform");
        let text = serde_json::to_string(&objects).unwrap();
        assert!(text.contains("keywheel-operator.platform.svc"));
    }
}

#[test]
fn values_that_nobody_reads_are_refused() {
    let mut helm = Helm::start();
    for (values, part) in [
        (json!({"replica": 1}), "'replica'"),
        (json!({"replicas": 0}), "replicas"),
        (json!({"image": {"repository": ""}}), "repository"),
        (json!({"image": {"digest": "sha256:0"}}), "digest"),
        (json!({"flags": ["token-ttl=20m"]}), "flags"),
        (json!({"certManager": {"enable": true}}), "'enable'"),
        (json!({"webhook": {"timeoutSeconds": 31}}), "timeoutSeconds"),
        (json!({"controller": {"replicas": 0}}), "replicas"),
        (json!({"controller": {"flag": []}}), "'flag'"),
    ] {
        let error = helm.template("keywheel", &values).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
}
