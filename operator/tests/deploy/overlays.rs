//! What the overlays make of the base.

use serde_json::{Value, json};

use super::flags;
use super::manifests::{base, document, find, folder, named};

/// Applies an overlay's patch of the flags as Kustomize does.
fn patched(overlay: &str) -> Value {
    let mut deployment = find(&base(), "Deployment");
    let patch = document(&format!("overlays/{overlay}/flags.yaml"));
    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
    json_patch::patch(&mut deployment, &patch).unwrap();
    deployment
}

#[test]
fn the_alerts_are_those_that_are_tested() {
    let rule = find(&folder("overlays/monitoring"), "PrometheusRule");
    assert_eq!(rule["spec"], document("monitoring/alerts.yaml"));
}

#[test]
fn metrics_are_read_where_the_webhook_has_them() {
    let objects = folder("overlays/monitoring");
    let monitor = find(&objects, "ServiceMonitor");
    for name in ["keywheel-operator", "keywheel-controller"] {
        let service = named(&objects, "Service", &format!("{name}-metrics"));
        assert_eq!(service["metadata"]["labels"], monitor["spec"]["selector"]["matchLabels"]);
        let template = &named(&base(), "Deployment", name)["spec"]["template"];
        assert_eq!(service["spec"]["selector"], template["metadata"]["labels"]);
        let port = &service["spec"]["ports"][0];
        assert_eq!(monitor["spec"]["endpoints"], json!([{"port": port["name"], "path": "/metrics"}]));
        let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|known| known["name"] == port["targetPort"]));
    }
    let service = find(&objects, "Service");
    // The webhook's own Service has other labels, so that it is not read a second time.
    assert_ne!(find(&base(), "Service")["metadata"]["labels"], service["metadata"]["labels"]);
}

#[test]
fn cert_manager_takes_the_place_of_the_webhooks_own_certificates() {
    let arguments = flags::check(&patched("cert-manager"));
    assert!(!arguments.iter().any(|argument| argument.starts_with("--webhook-configuration")));
    let folder = folder("overlays/cert-manager");
    let certificate = folder.iter().find(|object| object["spec"]["dnsNames"].is_array()).unwrap();
    assert_eq!(certificate["spec"]["dnsNames"], json!(["keywheel-operator.keywheel.svc"]));
    let patch = document("overlays/cert-manager/deployment.yaml");
    let pod = &patch["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], certificate["spec"]["secretName"]);
    let mount = pod["containers"][0]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    for flag in [format!("--cert-file={mount}/tls.crt"), format!("--key-file={mount}/tls.key")] {
        assert!(arguments.contains(&flag), "{flag}");
    }
    let name = format!("keywheel/{}", certificate["metadata"]["name"].as_str().unwrap());
    let webhook = document("overlays/cert-manager/authority.yaml");
    assert_eq!(webhook["metadata"]["annotations"], json!({"cert-manager.io/inject-ca-from": name}));
}

#[test]
fn the_one_for_development_pulls_nothing() {
    folder("overlays/dev");
    let arguments = flags::check(&patched("dev"));
    assert!(arguments.contains(&"--image=keywheel:dev".to_owned()));
}
