//! Pods as values, and what an answer makes of them.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_operator::inject::{Answer, Injector, Patch, Settings};
use serde_json::Value;

/// Returns the injector of a cluster with native sidecars, or of an older one.
pub(crate) fn injector(is_old: bool) -> Injector {
    Injector::new(Settings { native_sidecars: !is_old, ..Settings::new("registry.shop.test/keywheel:0.1.0") })
}

pub(crate) fn ask(injector: &Injector, pod: &Value) -> Answer {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    injector.inject(&pod)
}

/// Applies a patch as the API server does.
pub(crate) fn patched(pod: &Value, patch: &Patch) -> Value {
    let mut patched = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(serde_json::to_value(patch).unwrap()).unwrap();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

pub(crate) fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"][key].as_str()
}

/// Reads a pod's configuration as the program in it does.
pub(crate) fn configuration(pod: &Value) -> Option<Config> {
    let text = annotation(pod, "keywheel.dev/generated-config")?;
    let parsed = Config::parse(
        Path::new("/etc/keywheel/keywheel.yaml"),
        text,
        &keywheel_providers::registry(),
        &Environment::default(),
    );
    Some(parsed.unwrap())
}

pub(crate) fn containers<'a>(pod: &'a Value, list: &str) -> Vec<&'a Value> {
    pod["spec"][list].as_array().into_iter().flatten().collect()
}

/// Returns the ConfigMaps that the configuration comes from.
fn config_maps(pod: &Value) -> impl Iterator<Item = &Value> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let own = volumes.filter(|volume| volume["name"] == "keywheel-config");
    own.flat_map(|volume| volume["projected"]["sources"].as_array().unwrap())
        .filter_map(|source| source.get("configMap"))
}

/// Checks what holds of every injected pod: it is not injected again, its configuration is good, and its own containers have what they had.
pub(crate) fn check(injector: &Injector, before: &Value, patch: &Patch) {
    let after = patched(before, patch);
    let again = ask(injector, &after);
    assert_eq!(again.verdict, keywheel_operator::inject::Verdict::Untouched, "a second injection");
    assert_eq!(annotation(&after, "keywheel.dev/status"), Some("injected"));
    // With a ConfigMap, an annotation of that name is the pod's own, and nobody reads it.
    let is_inline = annotation(before, "keywheel.dev/config").is_none();
    assert!(!is_inline || configuration(&after).is_some());
    let wraps = annotation(before, "keywheel.dev/mode") == Some("run");
    for list in ["containers", "initContainers"] {
        let all = containers(&after, list);
        for own in containers(before, list) {
            let now = all.iter().find(|container| container["name"] == own["name"]).unwrap();
            let (mut rest, mut expected) = ((*now).clone(), own.clone());
            for container in [&mut rest, &mut expected] {
                let object = container.as_object_mut().unwrap();
                object.remove("volumeMounts");
                if wraps {
                    object.remove("command");
                    object.remove("env");
                }
            }
            assert_eq!(rest, expected, "nothing else of a container changes");
            let list = |container: &Value, key: &str| container[key].as_array().cloned().unwrap_or_default();
            let (had, has) = (list(own, "env"), list(now, "env"));
            assert_eq!(has[..had.len()], had, "variables stay as they are");
            let (had, has) = (list(own, "volumeMounts"), list(now, "volumeMounts"));
            assert_eq!(has[..had.len()], had, "mounts stay, in their order");
            assert!(wraps || has[had.len()..].iter().all(|mount| mount["readOnly"] == true), "{has:?}");
            if let (true, Some(command)) = (wraps, own["command"].as_array()) {
                assert!(now["command"].as_array().unwrap().ends_with(command), "{now}");
            }
        }
    }
    let waits = !wraps && before["spec"]["restartPolicy"].as_str().is_none_or(|policy| policy == "Always");
    for map in config_maps(&after) {
        assert_eq!(
            map["optional"], waits,
            "a sidecar that is started again waits for {map}, else the kubelet does"
        );
    }
    for (key, value) in before["spec"].as_object().unwrap() {
        if !["containers", "initContainers", "volumes"].contains(&key.as_str()) {
            assert_eq!(after["spec"][key], *value, "{key}");
        }
    }
}
