//! `examples/kubernetes`: what is to be copied is right.

use k8s_openapi::api::core::v1::Pod;
use keywheel_operator::inject::{Injector, Settings, Verdict};
use serde_json::Value;

use super::manifests::documents;
use super::restricted;
use super::types::as_known;

fn all() -> Vec<Value> {
    ["deployment", "job", "schedule"]
        .iter()
        .flat_map(|name| documents(&format!("../examples/kubernetes/{name}.yaml")))
        .collect()
}

#[test]
fn objects_of_kubernetes_are_what_its_types_say() {
    let known: Vec<_> = all().into_iter().filter_map(|object| Some((as_known(&object)?, object))).collect();
    assert_eq!(known.len(), 6, "all but the schedule");
    for (known, object) in known {
        assert_eq!(known.unwrap(), object);
    }
}

#[test]
fn pods_are_injected_without_a_warning_and_stay_restricted() {
    for is_old in [false, true] {
        let settings = Settings::new("registry.company.com/keywheel:1");
        let injector = Injector::new(Settings { native_sidecars: !is_old, ..settings });
        let objects = all();
        let places = ["/spec/template", "/spec/jobTemplate/spec/template"];
        let templates =
            objects.iter().filter_map(|object| places.iter().find_map(|place| object.pointer(place)));
        let pods: Vec<Pod> = templates.map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        assert_eq!(pods.len(), 2);
        for pod in pods {
            let answer = injector.inject(&pod);
            let Verdict::Injected(patch) = &answer.verdict else { panic!("{answer:?}") };
            assert!(answer.warnings.is_empty(), "{answer:?}");
            let mut pod = serde_json::to_value(pod).unwrap();
            let patch: json_patch::Patch =
                serde_json::from_value(serde_json::to_value(patch).unwrap()).unwrap();
            json_patch::patch(&mut pod, &patch).unwrap();
            assert_eq!(restricted::violations(&pod), [""; 0]);
        }
    }
}
