//! A rotator of generated values that is killed at any moment, at the stores without a database behind them: what is published is whole all along, and the next
//! run brings the rotation to its end.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use keywheel_tests::kills::at_requests;
use keywheel_tests::{Faults, Launch, OpenBao, soak, wait};
use serde_json::{Value, json};

/// Returns a configuration that rotates `target` with generated values.
fn configuration(providers: &str, target: &str) -> String {
    format!(
        "{providers}rotations:\n  - {{name: orders, target: \"{target}\", schedule: {{every: 30d}}, overlap: 1ms, strategy: {{random: {{length: 32}}}}, fields: {{value: password}}}}\n"
    )
}

/// Has whatever was begun brought to its end.
fn finish(configuration: &str, what: &str) {
    let done = Launch::new("rotate").config(configuration).arg("--json").output();
    assert_eq!(done.code, Some(0), "{what}: {}", done.stderr);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report[0]["phase"], "idle", "{what}: {report}");
}

/// Sees that `fields` are a whole published value.
fn is_whole(fields: &Value, what: &str) {
    let password = fields["password"].as_str().unwrap_or_else(|| panic!("{what}: {fields}"));
    assert!(password == "first" || password.len() == 32, "{what}: {fields}");
    assert_eq!(fields["port"], 5432, "{what}: {fields}");
}

fn names(folder: &Path) -> BTreeSet<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_file_is_whole_whenever_its_rotator_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.json");
    fs::write(&file, json!({"password": "first", "port": 5432}).to_string()).unwrap();
    let configuration = configuration("", &format!("file://{}", file.display()));
    let timed = || {
        let begun = wait::monotonic();
        let whole = Launch::new("rotate").config(&configuration).arg("--now").output();
        assert_eq!(whole.code, Some(0), "{}", whole.stderr);
        wait::monotonic() - begun
    };
    let took = (0..3).map(|_| timed()).min().unwrap();
    finish(&configuration, "without a kill");
    let left = names(folder.path());
    // Each is killed a little later than the one before, until one comes to its end: that takes a fraction of the time measured, or many times as long.
    let (steps, mut kills, mut published) = (soak::count(24, 240), 0, BTreeSet::new());
    loop {
        let begun = wait::monotonic();
        let after = took.mul_f64(kills as f64 / steps as f64);
        let what = format!("killed after {after:?}");
        let rotator = Launch::new("rotate").config(&configuration).arg("--now").start();
        // A step takes a millisecond or two: nothing that polls would meet it.
        while wait::monotonic() - begun < after && rotator.process().ended().is_none() {
            std::hint::spin_loop();
        }
        let ended = rotator.process().ended().is_some();
        rotator.process().kill();
        let read = || serde_json::from_slice::<Value>(&fs::read(&file).unwrap());
        is_whole(&read().unwrap_or_else(|error| panic!("{what}: {error}")), &what);
        finish(&configuration, &what);
        let now = read().unwrap();
        is_whole(&now, &what);
        published.insert(now["password"].to_string());
        assert_eq!(names(folder.path()), left, "{what}: something was left behind");
        if ended {
            break;
        }
        kills += 1;
    }
    eprintln!("{kills} kills, {} values", published.len());
    assert!(kills * 4 > steps && published.len() > 1, "{kills} kills, {} values", published.len());
}

#[test]
fn a_secret_of_kv_version_1_is_whole_at_whatever_request_its_rotator_is_killed() {
    let bao = OpenBao::start();
    let faults = Faults::before(&bao.plain_address());
    bao.kv1_put("kv1", "orders", &json!({"password": "first", "port": 5432}));
    let by = |address: &str| {
        let auth = format!("{{method: token, token: {}}}", bao.root_token());
        let vault = format!("providers:\n  vault: {{kind: vault, address: \"{address}\", auth: {auth}}}\n");
        configuration(&vault, "vault://kv1/orders")
    };
    let (by_proxy, plain) = (by(&faults.address()), by(&bao.plain_address()));
    let whole = Launch::new("rotate").config(&by_proxy).arg("--now").output();
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let requests = faults.count();
    let numbers = (0..requests).step_by(soak::count(3, 1));
    let kills = at_requests(&faults, &by_proxy, numbers, |what| {
        is_whole(&bao.read("kv1/orders").unwrap()["data"], what);
        finish(&plain, what);
        is_whole(&bao.read("kv1/orders").unwrap()["data"], what);
    });
    eprintln!("{requests} requests, {kills} kills");
}
