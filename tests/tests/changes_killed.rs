//! The agent is killed at each transition of a change: after its next start, the change is finished or undone.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use keywheel_tests::{Keywheel, Launch, Tmpfs, wait};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(20);

/// A delivery of one value whose hooks note what they see, and wait while they are told to.
struct Scene {
    volume: Tmpfs,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { volume: Tmpfs::mount(8 << 20), folder: tempfile::tempdir().unwrap() };
        scene.set("1");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self, value: &str) {
        let (aside, source) = (self.path("new"), self.path("source.json"));
        fs::write(&aside, format!("{{\"value\": \"{value}\"}}")).unwrap();
        fs::rename(aside, source).unwrap();
    }

    /// Has hooks of this kind wait, or go on.
    fn block(&self, kind: &str, blocks: bool) {
        match blocks {
            true => fs::write(self.path(&format!("block-{kind}")), "").unwrap(),
            false => fs::remove_file(self.path(&format!("block-{kind}"))).unwrap(),
        }
    }

    /// What the hooks of this kind saw.
    fn log(&self, kind: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("log-{kind}"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn start(&self) -> Keywheel {
        let (folder, out) = (self.folder.path().display(), self.volume.path().join("out"));
        // A line is one write: a hook that is killed leaves no half of one.
        let hook = |kind: &str, file: &str| {
            format!(
                "[/bin/sh, -c, 'echo $(cat {file}) >> {folder}/log-{kind}; \
                 while [ -e {folder}/block-{kind} ]; do sleep 0.02; done; ! grep -q bad {file}']"
            )
        };
        let seen = out.join("s/value").display().to_string();
        let told = format!(
            "[/bin/sh, -c, 'echo $(cat {seen}) >> {folder}/log-tell; \
             while [ -e {folder}/block-tell ]; do sleep 0.02; done']"
        );
        let config = format!(
            "providers: {{file: {{kind: file, root: {folder}}}}}
state_directory: {state}
deliveries:
  - name: orders
    directory: {out}
    secrets: {{s: {{ref: \"file://source.json\", refresh: 100ms}}}}
    validate: [{{exec: {validate}, timeout: 30s}}]
    on_change: [{{exec: {{command: {told}, timeout: 30s}}}}]
    verify: {{exec: {verify}, within: 2s, interval: 50ms, timeout: 30s}}
",
            state = self.volume.path().join("state").display(),
            out = out.display(),
            validate = hook("validate", "{directory}/s/value").replace("! grep -q bad", "! grep -q broken"),
            verify = hook("verify", &seen),
        );
        let agent = Launch::agent(&config).start();
        wait::until(BOUND, "the agent to answer", || agent.admin("/livez").map(drop));
        agent
    }

    fn visible(&self) -> String {
        fs::read_to_string(self.volume.path().join("out/s/value")).unwrap_or_default()
    }

    /// Waits until nothing is under way and readers see `value`.
    fn rests(&self, agent: &Keywheel, value: &str) -> Value {
        wait::until(BOUND, &format!("a rest at {value}"), || {
            // In this order: what is visible and then at rest is what it rests at.
            let is_visible = self.visible() == value;
            let delivery = agent.status()["deliveries"][0].take();
            let rests = delivery["phase"] == "idle" && delivery["secrets"][0]["version"].is_string();
            (is_visible && rests).then_some(delivery)
        })
    }

    /// Waits until `bad` is known to have been rejected, and sees that nobody is told of it again.
    fn stays(&self, agent: &Keywheel, value: &str, told: &[&str]) {
        self.rests(agent, value);
        wait::until(BOUND, "the rejection", || {
            agent.status()["deliveries"][0]["error"]
                .as_str()
                .filter(|error| error.contains("rejected"))
                .map(drop)
        });
        wait::throughout(Duration::from_millis(500), "nobody to be told again", || self.log("tell") == told);
        assert_eq!(self.visible(), value);
    }

    /// Changes the value, and kills the agent while the hook of this kind that sees `at` runs.
    fn kill_in(&self, agent: &Keywheel, kind: &str, at: &str, value: &str) {
        let count = self.log(kind).len();
        self.block(kind, true);
        self.set(value);
        let is_there = || {
            let log = self.log(kind);
            (log.len() > count && log.last().is_some_and(|seen| seen == at)).then_some(())
        };
        let found = wait::within(BOUND, is_there);
        assert!(
            found.is_some(),
            "no {kind} of {at}: {:?} {}\n{}",
            self.log(kind),
            agent.status(),
            agent.logs()
        );
        agent.process().kill();
        self.block(kind, false);
    }

    fn generations(&self) -> usize {
        let folder = fs::read_dir(self.volume.path().join("out")).unwrap();
        folder
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("..2"))
            .count()
    }
}

#[test]
fn killed_while_it_validates_it_begins_again() {
    let scene = Scene::new();
    let agent = scene.start();
    scene.rests(&agent, "1");
    scene.kill_in(&agent, "validate", "2", "2");
    assert_eq!((scene.visible().as_str(), scene.generations()), ("1", 2));
    let agent = scene.start();
    scene.rests(&agent, "2");
    assert_eq!(scene.log("tell"), ["1", "2"], "nobody was told of what was not visible");
}

#[test]
fn killed_while_it_tells_it_tells_again_and_has_it_proved() {
    let scene = Scene::new();
    let agent = scene.start();
    scene.rests(&agent, "1");
    scene.kill_in(&agent, "tell", "2", "2");
    let agent = scene.start();
    scene.rests(&agent, "2");
    assert_eq!(scene.log("tell"), ["1", "2", "2"]);
    assert_eq!(scene.log("verify").last().unwrap(), "2");
}

#[test]
fn killed_while_it_tells_of_what_is_bad_it_still_goes_back() {
    let scene = Scene::new();
    let agent = scene.start();
    scene.rests(&agent, "1");
    scene.kill_in(&agent, "tell", "bad", "bad");
    assert_eq!(scene.visible(), "bad");
    let agent = scene.start();
    let delivery = scene.rests(&agent, "1");
    assert_eq!(delivery["rollbacks"], 1);
    scene.stays(&agent, "1", &["1", "bad", "bad", "1"]);
}

#[test]
fn killed_while_it_verifies_it_finishes() {
    let scene = Scene::new();
    let agent = scene.start();
    scene.rests(&agent, "1");
    scene.kill_in(&agent, "verify", "2", "2");
    let agent = scene.start();
    scene.rests(&agent, "2");
    assert_eq!(scene.log("tell"), ["1", "2"], "nobody is told twice");
    assert_eq!(agent.status()["deliveries"][0]["rollbacks"], 0);
}

#[test]
fn killed_while_it_verifies_what_is_bad_it_goes_back() {
    let scene = Scene::new();
    let agent = scene.start();
    scene.rests(&agent, "1");
    scene.kill_in(&agent, "verify", "bad", "bad");
    let agent = scene.start();
    scene.stays(&agent, "1", &["1", "bad", "1"]);
}

#[test]
fn killed_on_the_way_back_it_tells_of_the_way_back_again() {
    let scene = Scene::new();
    let agent = scene.start();
    scene.rests(&agent, "1");
    // Only the way back is held up.
    scene.set("bad");
    wait::until(BOUND, "a look at what is bad", || {
        scene.log("verify").contains(&"bad".to_owned()).then_some(())
    });
    scene.block("tell", true);
    wait::until(BOUND, "the way back", || (scene.log("tell") == ["1", "bad", "1"]).then_some(()));
    agent.process().kill();
    scene.block("tell", false);
    assert_eq!(scene.visible(), "1");
    let agent = scene.start();
    scene.stays(&agent, "1", &["1", "bad", "1", "1"]);
    scene.set("2");
    scene.rests(&agent, "2");
}
