//! What watches Keywheel: rules that Prometheus takes, alerts that fire, and no name that the programs do not write.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keywheel_tests::{Launch, Prometheus, Stage, soak, wait};
use serde_json::json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring")
}

/// Returns the names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // The sources name a crate as well.
    words.filter(|word| word.starts_with("keywheel_") && *word != "keywheel_core").collect()
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
        include_str!("../../secrets-core/src/rotation/measures.rs"),
        include_str!("../../sidecar/src/admin/metrics.rs"),
        include_str!("../../sidecar/src/commands/rotate/endpoint/metrics.rs"),
        include_str!("../../operator/src/controller/board.rs"),
        include_str!("../../operator/src/metrics.rs"),
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
    let book = fs::read_to_string(folder().join("../../docs/src/operations.md")).unwrap();
    assert_eq!(names(&book), written, "the book lists what is written");
}

#[test]
fn prometheus_scrapes_an_agent_and_evaluates_the_rules() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "c4n4ry"}));
    let delivery = "    secrets: {db: {ref: vault://secret/orders/db, refresh: 1s, max_stale: 1s}}\n";
    let agent = Launch::agent(&stage.configuration(delivery)).start();
    agent.wait_ready(Duration::from_secs(20));
    let prometheus = Prometheus::scrape(agent.admin_address());
    let becomes = |what: &str, good: &dyn Fn(&[f64]) -> bool| {
        wait::until(Duration::from_secs(30), what, || good(&prometheus.values(what)).then_some(()));
    };
    becomes("keywheel_ready", &|values| values == [1.0]);
    becomes("keywheel_fetch_duration_seconds_count", &|values| values.len() == 1 && values[0] >= 2.0);
    becomes("keywheel_fetch_duration_seconds_bucket", &|values| values.len() == 11);
    becomes("keywheel_secret_age_seconds", &|values| matches!(values, [age] if (0.0..5.0).contains(age)));
    becomes("keywheel_generation", &|values| values.len() == 1 && values[0] > 1.7e9);

    let samples = soak::count(4, 60) as f64;
    becomes("count_over_time(up[2m])", &|values| matches!(values, [count] if *count >= samples));
    assert_eq!(prometheus.values("min_over_time(up[2m])"), [1.0], "a scrape failed");
    stage.bao.seal();
    becomes("keywheel_provider_errors_total", &|values| matches!(values, [count, ..] if *count >= 1.0));
    becomes("keywheel_stale", &|values| values == [1.0]);
    becomes("ALERTS{alertname=%22KeywheelSecretStale%22,alertstate=%22pending%22}", &|values| {
        values == [1.0]
    });
    for group in prometheus.ask("rules")["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }
    let metrics = agent.admin("/metrics").unwrap().text();
    assert!(!metrics.contains("c4n4ry") && !metrics.contains("secret/orders"), "{metrics}");
}
