//! Reviews of pods, and what pods say in annotations: every one is answered, and what is injected has a configuration that its reader takes.

#![no_main]

use std::sync::LazyLock;

use keywheel_operator::inject::{Injector, Settings, Verdict};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

static INJECTOR: LazyLock<Injector> = LazyLock::new(|| Injector::new(Settings::new("keywheel")));

fuzz_target!(|data: &[u8]| {
    keywheel_operator::webhook::answer(data, &INJECTOR).ok();
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A line for each annotation, `k.` or `v.` for the family; `\n` in a value is the end of a line.
    let annotations: Map<String, Value> = text.lines().filter_map(annotation).collect();
    let containers = json!([{"name": "app", "command": ["/app"]}, {"name": "side", "securityContext": {"runAsUser": 1000}}]);
    let pod = json!({"metadata": {"labels": {"keywheel.dev/inject": "true"}, "annotations": annotations}, "spec": {"containers": containers}});
    let answer = INJECTOR.inject(&serde_json::from_value(pod).expect("a pod"));
    let Verdict::Injected(patch) = answer.verdict else { return };
    let patch = serde_json::to_value(patch).expect("a patch");
    let operations = patch.as_array().expect("a list");
    let generated = operations
        .iter()
        .find(|operation| operation["path"] == "/metadata/annotations/keywheel.dev~1generated-config");
    if let Some(generated) = generated {
        let text = generated["value"].as_str().expect("a text");
        assert!(serde_json::from_str::<Value>(text).is_ok(), "JSON");
        keywheel_fuzz::parse(text).expect("a configuration that is good");
    }
});

fn annotation(line: &str) -> Option<(String, Value)> {
    let (key, value) = line.split_once('=')?;
    let key = match key.split_once('.')? {
        ("k", name) => format!("keywheel.dev/{name}"),
        ("v", name) => format!("vault.hashicorp.com/{name}"),
        _ => return None,
    };
    Some((key, value.replace("\\n", "\n").into()))
}
