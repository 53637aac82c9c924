//! The audit says who read, delivered, told and rotated what, at which version, and what came of it; never a value.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use keywheel_tests::{Launch, Stage, Witness, wait};
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(20);

/// Reads the lines of an audit that is being written.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(!text.contains("c4n4ry"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for a line that has all of `wanted`, and returns it.
fn line(path: &Path, wanted: &Value) -> Value {
    wait::until(BOUND, &wanted.to_string(), || {
        let wanted = wanted.as_object().unwrap();
        lines(path).into_iter().find(|line| wanted.iter().all(|(key, value)| &line[key] == value))
    })
}

#[test]
fn an_agent_writes_down_what_it_reads_delivers_and_tells() {
    let (stage, witness) = (Stage::set(), Witness::start());
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "c4n4ry-1"}));
    let delivery = format!(
        "    secrets: {{db: {{ref: vault://secret/orders/db, refresh: 200ms}}}}\n    on_change: [signal: {{pid_file: {}, signal: SIGHUP}}]\n",
        witness.pid_file().display()
    );
    let file = stage.pod().join("audit.jsonl");
    let agent = Launch::agent(&stage.configuration(&delivery)).arg("--audit-log").arg(&file).start();
    agent.wait_ready(BOUND);
    let secret = "vault://secret/orders/db";
    let read = line(&file, &json!({"event": "read", "secret": secret, "version": "1", "outcome": "done"}));
    assert!(read["by"].as_str().unwrap().ends_with(&format!("/{}", agent.process().pid())), "{read}");
    assert!(read["timestamp"].is_string(), "{read}");
    line(&file, &json!({"event": "delivery", "delivery": "orders", "secrets": "db@1", "outcome": "done"}));
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "c4n4ry-2"}));
    let delivered = line(
        &file,
        &json!({"event": "delivery", "delivery": "orders", "secrets": "db@2", "outcome": "done"}),
    );
    let told = json!({"event": "notify", "generation": delivered["generation"], "outcome": "done"});
    assert!(line(&file, &told)["notifier"].as_str().unwrap().starts_with("SIGHUP by "));
    stage.forbid();
    line(&file, &json!({"event": "read", "secret": secret, "outcome": "permission denied"}));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(agent.logged("audit").is_empty(), "the log says it in its own words");
}

#[test]
fn reads_at_a_terminal_and_rotations_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file) = (folder.path().join("orders.json"), folder.path().join("audit.jsonl"));
    fs::write(&source, r#"{"password": "c4n4ry"}"#).unwrap();
    let secret = format!("file://{}", source.display());
    let got = Launch::new("get").arg("--audit-log").arg(&file).arg(format!("{secret}#password")).output();
    assert_eq!(got.stdout, "c4n4ry", "{}", got.stderr);
    line(&file, &json!({"event": "read", "secret": secret, "outcome": "done"}));
    let rotations = format!(
        "rotations:\n  - {{name: orders, target: \"{secret}\", schedule: {{every: 30d}}, strategy: {{random: {{length: 32}}}}}}\n"
    );
    let launch = Launch::new("rotate").config(&rotations).args(["--now", "--no-wait", "--reason", "leaked"]);
    let rotated = launch.arg("--audit-log").arg(&file).output();
    assert_eq!(rotated.code, Some(0), "{}", rotated.stderr);
    for step in ["create", "set", "test", "finish"] {
        let wanted = json!({"event": "rotation", "rotation": "orders", "step": step, "outcome": "done"});
        assert_eq!(line(&file, &wanted)["reason"], "leaked");
    }
    let nowhere = Launch::new("get").args(["--audit-log", "/nowhere/audit"]).arg(&secret).output();
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.stderr.contains("cannot write the audit to /nowhere/audit"), "{}", nowhere.stderr);
}
