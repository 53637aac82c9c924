//! A source file that changes is delivered at once: `refresh` is an hour here, so that only the change itself can be what is noticed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use keywheel_tests::{Keywheel, Launch, Tmpfs, Witness, wait};

#[test]
fn a_file_that_is_renamed_over_arrives_within_a_second() {
    let scene = Scene::set();
    fs::write(scene.source().join("orders.json"), r#"{"password": "first"}"#).unwrap();
    let _agent = scene.start("file://orders.json");
    scene.arrives("first", 0);
    for (told, password) in ["second", "third"].into_iter().enumerate() {
        let aside = scene.source().join("orders.json.new");
        fs::write(&aside, format!(r#"{{"password": "{password}"}}"#)).unwrap();
        fs::rename(aside, scene.source().join("orders.json")).unwrap();
        scene.arrives(password, told + 1);
    }
}

#[test]
fn a_file_that_is_written_in_place_arrives_within_a_second() {
    let scene = Scene::set();
    let file = scene.source().join("orders.json");
    fs::write(&file, r#"{"password": "first"}"#).unwrap();
    let _agent = scene.start("file://orders.json");
    scene.arrives("first", 0);
    fs::write(&file, r#"{"password": "second"}"#).unwrap();
    scene.arrives("second", 1);
}

#[test]
fn a_folder_that_the_kubelet_swaps_arrives_within_a_second() {
    let scene = Scene::set();
    let mounted = scene.source().join("orders");
    fs::create_dir(&mounted).unwrap();
    publish(&mounted, "..2026_11_22_07_00_00.1", "first");
    symlink("..data/password", mounted.join("password")).unwrap();
    let _agent = scene.start("file://orders");
    scene.arrives("first", 0);
    publish(&mounted, "..2026_11_22_07_00_01.2", "second");
    fs::remove_dir_all(mounted.join("..2026_11_22_07_00_00.1")).unwrap();
    scene.arrives("second", 1);
    publish(&mounted, "..2026_11_22_07_00_02.3", "third");
    fs::remove_dir_all(mounted.join("..2026_11_22_07_00_01.2")).unwrap();
    scene.arrives("third", 2);
}

#[test]
fn a_file_within_a_mounted_folder_is_followed_through_its_links() {
    let scene = Scene::set();
    let mounted = scene.source().join("orders");
    fs::create_dir(&mounted).unwrap();
    publish(&mounted, "..2026_11_22_07_00_00.1", "first");
    symlink("..data/password", mounted.join("password")).unwrap();
    let _agent = scene.start("{ref: \"file://orders/password\", refresh: 1h}\n    files:\n      - {path: db/password, value: \"{{ db.value }}\"}");
    scene.arrives("first", 0);
    publish(&mounted, "..2026_11_22_07_00_01.2", "second");
    fs::remove_dir_all(mounted.join("..2026_11_22_07_00_00.1")).unwrap();
    scene.arrives("second", 1);
}

#[test]
fn a_source_that_goes_away_changes_nothing_and_is_taken_up_again() {
    let scene = Scene::set();
    let file = scene.source().join("orders.json");
    fs::write(&file, r#"{"password": "first"}"#).unwrap();
    let agent = scene.start("file://orders.json");
    scene.arrives("first", 0);
    fs::remove_file(&file).unwrap();
    wait::until(Duration::from_secs(5), "the loss to be noticed", || {
        let status = agent.status();
        (!status["deliveries"][0]["secrets"][0]["error"].is_null()).then_some(())
    });
    assert_eq!(scene.delivered(), "first");
    assert_eq!(agent.admin("/readyz").unwrap().status, 200);
    fs::write(&file, r#"{"password": "second"}"#).unwrap();
    scene.arrives("second", 1);
}

struct Scene {
    volume: Tmpfs,
    folder: tempfile::TempDir,
    witness: Witness,
}

impl Scene {
    fn set() -> Self {
        let folder = tempfile::Builder::new().prefix("keywheel-source-").tempdir().unwrap();
        Self { volume: Tmpfs::mount(1 << 20), folder, witness: Witness::start() }
    }

    fn source(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self, secret: &str) -> Keywheel {
        let secret = if secret.starts_with('{') {
            secret.to_owned()
        } else {
            format!("{{ref: \"{secret}\", refresh: 1h}}")
        };
        let config = format!(
            "providers:\n  file: {{kind: file, root: {}}}\ndeliveries:\n  - name: orders\n    directory: {}\n    secrets:\n      db: {secret}\n    on_change:\n      - signal: {{process: {}, signal: SIGHUP}}\n",
            self.source().display(),
            self.volume.path().join("orders").display(),
            self.witness.name(),
        );
        let agent = Launch::agent(&config).start();
        agent.wait_ready(Duration::from_secs(15));
        agent
    }

    fn delivered(&self) -> String {
        fs::read_to_string(self.volume.path().join("orders/db/password")).unwrap()
    }

    /// Waits for the value and for the signal that follows `told` earlier ones, both within a second.
    fn arrives(&self, password: &str, told: usize) {
        let begun = wait::monotonic();
        wait::until(SECOND, password, || (self.delivered() == password).then_some(()));
        let signals = self.witness.wait_for_more_than(told, SECOND);
        assert_eq!(signals.len(), told + 1);
        assert!(wait::monotonic() - begun < SECOND, "{:?}", wait::monotonic() - begun);
    }
}

/// Does what the kubelet's AtomicWriter does when a Secret changes.
fn publish(mounted: &Path, generation: &str, password: &str) {
    fs::create_dir(mounted.join(generation)).unwrap();
    fs::write(mounted.join(generation).join("password"), password).unwrap();
    symlink(generation, mounted.join("..data_tmp")).unwrap();
    fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
}

const SECOND: Duration = Duration::from_secs(1);
