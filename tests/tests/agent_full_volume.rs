//! A volume that is full keeps the old generation, whole; the new one arrives when there is room again.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use keywheel_tests::{Launch, Readers, Snapshot, Stage, Tmpfs, Witness, generation, stage, wait};
use serde_json::json;

#[test]
fn a_full_volume_keeps_the_old_generation_and_says_so() {
    let (stage, witness) = (Stage::set(), Witness::start());
    let volume = Tmpfs::mount(512 << 10);
    if !volume.is_limited() {
        // Without the right to mount, nothing can be filled but everybody's /dev/shm.
        return;
    }
    let directory = volume.path().join("orders");
    let vault = format!(
        "address: \"{}\", ca_file: {}, auth: {{method: jwt, role: orders, token_file: {}}}",
        stage.bao.address(),
        stage.bao.ca_file().display(),
        stage.token_file().display()
    );
    let delivery = format!(
        "{DELIVERY}    on_change:\n      - signal: {{process: {}, signal: SIGHUP}}\n",
        witness.name()
    );
    put(&stage, 1);
    let agent = Launch::agent(&stage::configuration(&vault, &directory, &delivery)).start();
    agent.wait_ready(Duration::from_secs(15));
    let told = witness.wait_for_more_than(0, Duration::from_secs(5)).len();
    let current = || directory.join(fs::read_link(directory.join("..data")).unwrap());
    let before = (current(), Snapshot::of(&current()));

    let readers = Readers::start(&directory, &[("db-password", 0o440), ("db-copy", 0o440)], 2);
    let filler = volume.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    // To the last page: each write adds one.
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    drop(file);
    put(&stage, 2);
    let error = wait::until(Duration::from_secs(5), "the full volume to be noticed", || {
        agent.status()["deliveries"][0]["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("space") || error.contains("full"), "{error}");
    assert!(error.contains(directory.to_str().unwrap()), "{error}");
    // Each further attempt makes a folder and removes it again; what readers see stays.
    wait::throughout(Duration::from_secs(3), "the old generation", || {
        (current(), Snapshot::of(&current())) == before
    });
    assert_eq!(agent.admin("/readyz").unwrap().status, 200);
    assert_eq!(witness.signals().len(), told);

    fs::remove_file(&filler).unwrap();
    witness.wait_for_more_than(told, Duration::from_secs(20));
    let content = fs::read(directory.join("db-password")).unwrap();
    assert_eq!(generation::read(&content), Ok(2));
    wait::until(Duration::from_secs(2), "the error to be gone", || {
        agent.status()["deliveries"][0]["error"].is_null().then_some(())
    });
    assert_eq!(readers.finish().faults, [""; 0]);
}

fn put(stage: &Stage, generation: u64) {
    stage.bao.kv_put("secret", "orders/db", &json!({"password": generation::value(generation, 40_000)}));
}

const DELIVERY: &str = r#"
    secrets:
      db: {ref: "vault://secret/orders/db", refresh: 200ms}
    overlap: 0s
    files:
      - {path: db-password, value: "{{ db.password }}", mode: "0440"}
      - {path: db-copy, value: "{{ db.password }}", mode: "0440"}
"#;
