//! A delivery of secrets from several places: one generation, which waits for all of them the first time, and for none of them later.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use keywheel_tests::{Cloud, Fault, Keywheel, Launch, Stage, wait};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const REFRESH: Duration = Duration::from_secs(1);

/// A Vault secret, three of AWS's and a file in one delivery.
struct Scene {
    stage: Stage,
    cloud: Cloud,
    agent: Keywheel,
}

impl Scene {
    fn play(before: impl FnOnce(&Cloud)) -> Self {
        let (stage, cloud) = (Stage::set(), Cloud::start());
        stage.bao.kv_put("secret", "db", &json!({"value": "vault-1"}));
        for name in ["one", "two", "three"] {
            cloud.moto.put(&format!("shop/{name}"), &format!("{name}-1"));
        }
        fs::write(stage.pod().join("local"), "file-1").unwrap();
        before(&cloud);
        let auth = format!("{{method: jwt, role: orders, token_file: {}}}", stage.token_file().display());
        let configuration = format!(
            "providers:\n  \
             vault: {{kind: vault, timeout: 2s, address: \"{}\", ca_file: {}, auth: {auth}}}\n  \
             aws: {{kind: aws, timeout: 2s, {}, {}}}\n\
             deliveries:\n  - name: orders\n    directory: {}\n    secrets:\n      \
             db: {{ref: \"vault://secret/db\", refresh: 1s}}\n      \
             one: {{ref: \"aws://shop/one\", refresh: 1s}}\n      \
             two: {{ref: \"aws://shop/two\", refresh: 1s}}\n      \
             three: {{ref: \"aws://shop/three\", refresh: 1s}}\n      \
             local: {{ref: \"file://{}\", refresh: 1s}}\n",
            stage.bao.address(),
            stage.bao.ca_file().display(),
            cloud.settings(),
            cloud.pod_identity(),
            stage.directory().display(),
            stage.pod().join("local").display(),
        );
        let agent = Launch::agent(&configuration).env("KEYWHEEL_LOG", "trace").start();
        Self { stage, cloud, agent }
    }

    /// Returns the file of each secret.
    fn files(&self) -> BTreeMap<String, String> {
        let names = ["db", "local", "one", "three", "two"];
        let read = |name: &str| fs::read_to_string(self.stage.directory().join(name).join("value")).ok();
        names.iter().filter_map(|name| Some(((*name).to_owned(), read(name)?))).collect()
    }

    /// Waits until the files are these, in one generation, as soon as a change has to be there.
    fn delivers(&self, expected: [&str; 5]) {
        let what = format!("{expected:?}");
        wait::until(REFRESH + SECOND, &what, || {
            self.agent.process().ended().is_none().then_some(()).unwrap();
            (self.files().values().map(String::as_str).collect::<Vec<_>>() == expected).then_some(())
        });
    }

    fn generation(&self) -> Option<PathBuf> {
        fs::read_link(self.stage.directory().join("..data")).ok()
    }
}

#[test]
fn the_first_generation_waits_for_every_secret_and_is_one() {
    let scene = Scene::play(|cloud| cloud.faults.show(Fault::Hang));
    // Long enough for a time-out, and for Vault and the file many times over.
    wait::until(20 * SECOND, "the failure to be told", || {
        let status = scene.agent.status().to_string();
        (status.contains("did not answer within 2s") && status.contains("aws://shop/one")).then_some(())
    });
    assert_eq!(
        (scene.generation(), scene.files().len()),
        (None, 0),
        "nothing is visible before all of it is there"
    );
    assert_eq!(scene.agent.admin("/readyz").unwrap().status, 503);
    scene.cloud.faults.heal();
    scene.agent.wait_ready(40 * SECOND);
    assert_eq!(
        scene.files().into_values().collect::<Vec<_>>(),
        ["vault-1", "file-1", "one-1", "three-1", "two-1"]
    );
    let said = scene.agent.logs() + &scene.agent.status().to_string();
    for secret in ["vault-1", "file-1", "one-1", "pod-secret-key", "pod-session-token", "pod-token-one"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    let delivered = scene.agent.status()["deliveries"][0].clone();
    assert_eq!(delivered["generation"].as_str(), scene.generation().unwrap().to_str(), "{delivered}");
    let generations = fs::read_dir(scene.stage.directory()).unwrap().flatten();
    let generations = generations.filter(|entry| entry.file_name().to_str().unwrap().starts_with("..2"));
    assert_eq!(generations.count(), 1, "all came with the first generation");
}

#[test]
fn later_the_failure_of_one_provider_holds_nothing_of_the_others_up() {
    let scene = Scene::play(|_| ());
    scene.agent.wait_ready(30 * SECOND);
    scene.delivers(["vault-1", "file-1", "one-1", "three-1", "two-1"]);

    // AWS hangs: its last good values go along with what the others have.
    scene.cloud.faults.show(Fault::Hang);
    scene.cloud.moto.put("shop/one", "one-2");
    scene.stage.bao.kv_put("secret", "db", &json!({"value": "vault-2"}));
    scene.delivers(["vault-2", "file-1", "one-1", "three-1", "two-1"]);
    fs::write(scene.stage.pod().join("local"), "file-2").unwrap();
    scene.delivers(["vault-2", "file-2", "one-1", "three-1", "two-1"]);
    scene.cloud.faults.heal();
    wait::until(40 * SECOND, "what AWS had meanwhile", || (scene.files()["one"] == "one-2").then_some(()));

    // Vault hangs, and one of AWS's secrets is deleted.
    scene.stage.bao.pause();
    scene.cloud.moto.schedule_deletion("shop/three");
    scene.cloud.moto.put("shop/two", "two-2");
    scene.delivers(["vault-2", "file-2", "one-2", "three-1", "two-2"]);
    wait::until(20 * SECOND, "the deletion to be told", || {
        scene.agent.status().to_string().contains("scheduled for deletion").then_some(())
    });
    scene.stage.bao.resume();
    fs::write(scene.stage.pod().join("local"), "file-3").unwrap();
    scene.delivers(["vault-2", "file-3", "one-2", "three-1", "two-2"]);
}
