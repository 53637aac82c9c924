//! Alerts as they are posted, and what rules make of them.

#![no_main]

use std::sync::LazyLock;

use keywheel_core::config::Config;
use keywheel_core::incident::{Alert, IncidentsConfig};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<IncidentsConfig> = LazyLock::new(|| {
    let config: Config = keywheel_fuzz::parse(CONFIGURATION).expect("a configuration");
    config.incidents.expect("rules")
});

fuzz_target!(|body: &[u8]| {
    match Alert::parse(body) {
        Ok(alert) => {
            let reason = alert.reason();
            assert!(reason.chars().count() < 300 && !reason.chars().any(char::is_control), "{reason:?}");
            assert!(RULES.rotations(&alert).iter().all(|name| *name == "key"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

const CONFIGURATION: &str = r#"
providers: {vault: {kind: vault, address: "http://127.0.0.1:1"}}
rotations:
- name: key
  target: vault://transit/keys/a
  record: vault://secret/keywheel/rotation/a
  schedule: {every: 30d}
  strategy: {vault-transit-key: {}}
incidents:
  token_file: /nowhere/token
  rules:
  - {rule: "Read*of*a*", priority: notice, tags: [keywheel], rotations: [key]}
  - {fields: {k8s.ns.name: "*", proc.pid: "4*1"}, rotations: [key]}
"#;
