//! A rotation that waits for its replicas: agents that delivered the new account, and saw it work, say so, and the old one goes when all have.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::path::Path;
use std::time::Duration;

use keywheel_tests::rotations::MAY_ROTATE;
use keywheel_tests::{Keywheel, Launch, Rotations, Stage, Tmpfs, wait};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

struct Replicas {
    rotations: Rotations,
    volume: Tmpfs,
    token: String,
}

impl Replicas {
    fn set() -> Self {
        let Stage { bao, volume, .. } = Stage::set();
        bao.policy("replica", MAY_ACKNOWLEDGE);
        let token = bao.token(&json!({"policies": ["replica"], "no_parent": true})).token;
        let rotations = Rotations::on(bao);
        rotations.allow(&format!("{MAY_ROTATE}\n{MAY_LISTEN}"));
        Self { rotations, volume, token }
    }

    /// Starts the agent of a pod, whose application works where `proof` is there.
    fn agent(&self, uid: &str, proof: &Path) -> Keywheel {
        let directory = self.volume.path().join(uid);
        let configuration = format!(
            "providers:\n  vault: {{kind: vault, address: \"{}\", auth: {{method: token, token: \"{}\"}}}}\ndeliveries:\n  - name: orders\n    \
             directory: {}\n    secrets:\n      db: {{ref: \"vault://secret/orders/db\", refresh: 200ms, acknowledge: true}}\n    \
             verify: {{exec: [/usr/bin/test, -e, {}], within: 60s, interval: 100ms}}\n",
            self.rotations.bao.plain_address(),
            self.token,
            directory.display(),
            proof.display(),
        );
        let agent = Launch::agent(&configuration).env("KEYWHEEL_POD_UID", uid).start();
        agent.wait_ready(10 * SECOND);
        agent
    }

    fn configuration(&self, expect: u32, deadline: &str) -> String {
        let more = format!("    acknowledge: {{expect: {expect}, deadline: {deadline}}}\n");
        self.rotations.configuration("{every: 30d}", "500ms", &more)
    }

    /// Starts a rotation, and waits until it is published.
    fn publish(&self, configuration: &str) -> Keywheel {
        let version = self.rotations.version();
        let rotator = Launch::new("rotate").config(configuration).arg("--now").start();
        wait::until(20 * SECOND, "the publication", || {
            rotator.process().assert_running();
            (self.rotations.version() > version).then_some(())
        });
        rotator
    }

    fn acknowledged(&self, configuration: &str) -> u64 {
        let status = self.rotations.rotate(configuration, &["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        status[0]["acknowledged"].as_u64().unwrap_or_default()
    }
}

#[test]
fn the_old_account_goes_when_every_application_works_with_the_new_one() {
    let stage = Replicas::set();
    let proofs = tempfile::tempdir().unwrap();
    let proof = |name: &str| proofs.path().join(name);
    std::fs::create_dir(proof("there")).unwrap();
    let agents = [stage.agent("pod-a", &proof("there")), stage.agent("pod-b", &proof("later"))];
    let configuration = stage.configuration(2, "5m");
    let rotator = stage.publish(&configuration);
    wait::until(20 * SECOND, "the first replica", || (stage.acknowledged(&configuration) == 1).then_some(()));
    // Others say something else, or the same again.
    let published = stage.rotations.version().to_string();
    let place = "keywheel/acknowledged/orders/db";
    stage.rotations.bao.kv_put(
        "secret",
        place,
        &json!({"pod-a": published, "pod-x": "1", "pod-y": "99999", "pod-z": 7}),
    );
    wait::throughout(3 * SECOND, "both accounts work", || {
        rotator.process().assert_running();
        stage.rotations.open_accounts().len() == 2
    });
    std::fs::create_dir(proof("later")).unwrap();
    assert!(rotator.process().wait_for_end(30 * SECOND).success(), "{}", rotator.logs());
    assert_eq!(stage.rotations.open_accounts(), [stage.rotations.published().0]);
    for agent in &agents {
        assert!(!agent.logged("acknowledged").is_empty(), "{}", agent.logs());
    }
    assert!(!rotator.logs().contains("not all have said"), "{}", rotator.logs());
}

#[test]
fn a_pod_that_is_gone_is_waited_for_until_the_deadline_and_not_at_all_in_an_emergency() {
    let stage = Replicas::set();
    let agent = stage.agent("pod-a", Path::new("/usr"));
    let configuration = stage.configuration(2, "6s");
    let rotator = stage.publish(&configuration);
    wait::until(20 * SECOND, "the replica that is there", || {
        (stage.acknowledged(&configuration) == 1).then_some(())
    });
    assert_eq!(stage.rotations.open_accounts().len(), 2);
    assert!(rotator.process().wait_for_end(30 * SECOND).success(), "{}", rotator.logs());
    assert!(rotator.logs().contains("not all have said"), "{}", rotator.logs());
    assert_eq!(stage.rotations.open_accounts(), [stage.rotations.published().0]);

    let patient = stage.configuration(2, "5m");
    let leaked = stage.rotations.rotate(&patient, &["orders", "--now", "--revoke-old"]);
    assert_eq!(leaked.code, Some(0), "{}", leaked.stderr);
    assert_eq!(stage.rotations.open_accounts(), [stage.rotations.published().0]);
    drop(agent);
}

#[test]
fn what_cannot_be_acknowledged_is_said_before_anything_is_changed() {
    let stage = Replicas::set();
    let configuration = stage.configuration(2, "5m");
    let refused = |configuration: &str, code: i32, words: &str| {
        let done = stage.rotations.rotate(configuration, &["--now"]);
        assert!(
            done.code == Some(code) && done.stderr.contains(words),
            "{words}: {:?} {}",
            done.code,
            done.stderr
        );
    };
    refused(&configuration.replace("deadline: 5m", "deadline: 100ms"), 64, "not shorter than `overlap`");
    refused(&configuration.replace("expect: 2", "expect: 0"), 64, "`expect` is 1 at least");
    stage.rotations.allow(MAY_ROTATE);
    refused(&configuration, 77, "`read` on secret/data/keywheel/acknowledged/orders/db");
    assert_eq!(stage.rotations.open_accounts(), ["orders_a"]);
}

const MAY_LISTEN: &str = r#"path "secret/data/keywheel/acknowledged/orders/db" { capabilities = ["read"] }"#;
const MAY_ACKNOWLEDGE: &str = r#"
path "secret/data/orders/db" { capabilities = ["read"] }
path "secret/data/keywheel/acknowledged/orders/db" { capabilities = ["read", "create", "update"] }
"#;
