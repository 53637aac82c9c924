//! What watches Keywheel: rules that Prometheus takes, alerts that fire, and no name that the programs do not write.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring")
}

/// Returns the names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("keywheel_")).collect()
}

#[test]
fn each_alert_fires_on_what_it_is_for() {
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(folder()).output();
        let output = output.expect("promtool; `cargo xtask test` brings it (Debian: prometheus)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let [rules, tests] =
        ["alerts.yaml", "alerts.test.yaml"].map(|file| fs::read_to_string(folder().join(file)).unwrap());
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
}

#[test]
fn alerts_and_dashboards_ask_for_what_is_written() {
    let written = [
        include_str!("../../sidecar/src/admin/metrics.rs"),
        include_str!("../../sidecar/src/commands/rotate/endpoint/metrics.rs"),
        include_str!("../../operator/src/webhook/metrics.rs"),
    ];
    let written: BTreeSet<&str> = written.iter().flat_map(|source| names(source)).collect();
    let dashboard = fs::read_to_string(folder().join("dashboard.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert_eq!(parsed["panels"].as_array().unwrap().len(), 12);
    let asked = [dashboard, fs::read_to_string(folder().join("alerts.yaml")).unwrap()];
    for name in asked.iter().flat_map(|text| names(text)) {
        assert!(written.contains(name), "nobody writes {name}");
    }
}
