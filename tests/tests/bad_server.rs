//! What an agent says and does when a server, a login or a file is not what it should be: an error that names operation and path, and files
//! that stay as they were.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;

use keywheel_tests::certificates::Authority;
use keywheel_tests::{Fault, Faults, Launch, Snapshot, Stage, stage};
use serde_json::json;

const DELIVERY: &str = "    secrets: {db: \"vault://secret/orders/db\"}\n";

#[test]
fn every_kind_of_trouble_has_its_words_and_changes_no_file() {
    let scene = Scene::set();
    let (address, ca) = (scene.stage.bao.address(), scene.stage.bao.ca_file().display().to_string());
    let token_file = scene.stage.token_file().display().to_string();
    let other_ca = scene.file("other-ca.pem", Authority::generate().pem());
    let good = format!("address: {address}, ca_file: {ca}");
    let jwt =
        |role: &str, file: &str| format!("{good}, auth: {{method: jwt, role: {role}, token_file: {file}}}");
    let ours = jwt("orders", &token_file);
    let with = |from: &str, to: &str| ours.replace(from, to);
    let unknown_mount = DELIVERY.replace("secret/orders", "nowhere/orders");

    scene.expect("an unknown mount", &ours, &unknown_mount, 77, &["find mount", "vault://nowhere/orders/db"]);
    scene.expect(
        "an unknown role",
        &jwt("nobody", &token_file),
        DELIVERY,
        77,
        &["log in", "auth/jwt", "nobody"],
    );
    let foreign = scene.foreign_token();
    scene.expect("another audience", &jwt("orders", &foreign), DELIVERY, 77, &["log in", "audience"]);
    let expired = scene.file("expired", &scene.stage.project_token(-600..-10));
    scene.stage.project_token(0..3600);
    scene.expect("an expired token", &jwt("orders", &expired), DELIVERY, 77, &["log in", "expired"]);
    let empty = scene.file("empty", "");
    scene.expect(
        "an empty token file",
        &jwt("orders", &empty),
        DELIVERY,
        77,
        &["read token", "empty", &empty],
    );
    let missing = scene.stage.pod().join("missing").display().to_string();
    scene.expect("a missing token file", &jwt("orders", &missing), DELIVERY, 77, &["read token", &missing]);
    scene.expect("a missing CA", &with(&ca, &missing), DELIVERY, 64, &["connect", &missing]);
    scene.expect("a CA that is none", &with(&ca, &token_file), DELIVERY, 64, &["connect", &token_file]);
    scene.expect("another CA", &with(&ca, &other_ca), DELIVERY, 69, &["issuer is not trusted", &other_ca]);
    let renamed = format!("{ours}, server_name: vault.shop.test");
    scene.expect("another server name", &renamed, DELIVERY, 69, &["certificate", "another name"]);
}

#[test]
fn every_kind_of_answer_has_its_words_and_changes_no_file() {
    let scene = Scene::set();
    let (faults, elsewhere) = (Faults::before(&scene.stage.bao.plain_address()), Faults::elsewhere());
    let auth = format!("{{method: jwt, role: orders, token_file: {}}}", scene.stage.token_file().display());
    let vault = format!("address: \"{}\", auth: {auth}, timeout: 2s", faults.address());
    let answer = |body: &str| Fault::Answer { status: 200, body: body.into() };
    let path = "secret/data/orders/db";
    for (what, fault, code, words) in [
        ("a redirect", Fault::Redirect { origin: elsewhere.address() }, 69, ["not followed", path]),
        ("another shape", answer(r#"{"data": ["c4n4ry"]}"#), 1, ["not what was expected", path]),
        ("no fields", answer(r#"{"data": {"metadata": {"version": 1}}}"#), 1, ["no fields", path]),
        ("no JSON", answer("<html>c4n4ry</html>"), 1, ["not what was expected", path]),
        ("a body that breaks off", Fault::Cut, 69, ["broke", path]),
        ("a body without end", Fault::Oversized { bytes: 9 << 20 }, 1, ["larger than", path]),
    ] {
        faults.show_at("/v1/secret/data", fault);
        let said = scene.expect(what, &vault, DELIVERY, code, &words);
        assert!(!said.contains("c4n4ry"), "{what}: {said}");
        faults.heal();
    }
    assert_eq!(elsewhere.count(), 0, "the token went to another host");
}

/// A server, and a directory in which a generation is already.
struct Scene {
    stage: Stage,
    before: Snapshot,
}

impl Scene {
    fn set() -> Self {
        let stage = Stage::set();
        stage.bao.kv_put("secret", "orders/db", &json!({"password": "one"}));
        let first = Launch::agent(&stage.configuration(DELIVERY)).arg("--once").output();
        assert_eq!(first.code, Some(0), "{}", first.stderr);
        stage.bao.kv_put("secret", "orders/db", &json!({"password": "two"}));
        let before = Snapshot::of(&stage.directory());
        Self { stage, before }
    }

    /// Delivers once with the provider's settings `vault`; expects failure, and returns what was said.
    fn expect(&self, what: &str, vault: &str, delivery: &str, code: i32, words: &[&str]) -> String {
        let config = stage::configuration(vault, &self.stage.directory(), delivery);
        let ended = Launch::agent(&config).arg("--once").output();
        assert_eq!(ended.code, Some(code), "{what}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{what}: {word:?} is missing in {}", ended.stderr);
        }
        assert!(Snapshot::of(&self.stage.directory()) == self.before, "{what} changed a file");
        ended.stderr
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.stage.pod().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Returns the file of a token of ours for another audience.
    fn foreign_token(&self) -> String {
        self.file("foreign", &self.stage.token_for("elsewhere"))
    }
}
