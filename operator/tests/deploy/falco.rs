//! Falco's rule, and what becomes of its alerts.

use std::collections::BTreeSet;

use keywheel_core::incident::Alert;
use serde_json::{Map, Value, json};

use super::manifests::document;

/// An alert as `POST /incidents` is tested with.
const KNOWN: &[u8] = include_bytes!("../../../secrets-core/src/incident/falcosidekick.json");

#[test]
fn its_alerts_have_what_rules_of_incidents_look_at() {
    let items = document("falco/keywheel.yaml");
    let rule = items.as_array().unwrap().iter().find(|item| !item["rule"].is_null()).unwrap();
    let fields = fields(rule["output"].as_str().unwrap());
    let output: Map<String, Value> = fields.iter().map(|field| (field.clone(), "value".into())).collect();
    let alert = json!({
        "rule": rule["rule"], "priority": rule["priority"], "tags": rule["tags"], "time": "2026-11-29T14:03:21Z", "output_fields": output,
    });
    let (alert, known) = (Alert::parse(alert.to_string().as_bytes()).unwrap(), Alert::parse(KNOWN).unwrap());
    assert_eq!((alert.rule, alert.priority, alert.tags), (known.rule, known.priority, known.tags));
    let missing: Vec<&String> =
        known.fields.keys().filter(|field| !alert.fields.contains_key(*field)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn it_watches_where_secrets_are_delivered_and_names_no_macro_that_is_not_there() {
    let items = document("falco/keywheel.yaml");
    let items = items.as_array().unwrap();
    let named = |kind: &str| items.iter().filter_map(|item| item[kind].as_str()).collect::<BTreeSet<_>>();
    let known = &named("list") | &named("macro");
    let conditions: String = items.iter().filter_map(|item| item["condition"].as_str()).collect();
    let words = conditions.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let used: BTreeSet<&str> = words.filter(|word| word.starts_with("keywheel_")).collect();
    assert_eq!(used, known);
    let list = |name: &str| items.iter().find(|item| item["list"] == name).unwrap()["items"].clone();
    assert_eq!(list("keywheel_directories"), json!(["/keywheel/secrets"]));
    assert_eq!(list("keywheel_readers"), json!(["/bin/keywheel", "/keywheel/bin/keywheel"]));
    let names = include_str!("../../src/inject/names.rs");
    for path in ["/keywheel/secrets", "/bin/keywheel", "/keywheel/bin/keywheel"] {
        assert!(names.contains(&format!("\"{path}\"")), "{path}");
    }
}

/// Returns the fields that an output quotes: `%proc.name`.
fn fields(output: &str) -> BTreeSet<String> {
    let parts = output.split('%').skip(1);
    let name =
        |part: &str| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().map(str::to_owned);
    parts.filter_map(name).collect()
}
