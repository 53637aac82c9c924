//! Every message that the book explains is one of the program's: each row of its tables has a case here that has the program say it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use keywheel_tests::documentation::Document;
use keywheel_tests::{Launch, OpenBao};
use serde_json::json;

/// Returns the messages in the first column of the tables.
fn explained() -> Vec<String> {
    let page = Document::read("docs/src/troubleshooting.md").text;
    let cells = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| Some(line.strip_prefix("| ")?.split_once(" | ")?.0));
    let code = |cell: &str| {
        let fence = if cell.starts_with("``") { "``" } else { "`" };
        Some(cell.strip_prefix(fence)?.strip_suffix(fence)?.trim().to_owned())
    };
    cells.map(|cell| code(cell).unwrap_or_else(|| panic!("{cell}"))).collect()
}

/// What the cases need: a server, a folder, and a port that is taken.
struct Stage {
    bao: OpenBao,
    token: String,
    folder: tempfile::TempDir,
    taken: TcpListener,
}

impl Stage {
    fn new() -> Self {
        let bao = OpenBao::start();
        let token = bao.token(&json!({"policies": ["default"]})).token;
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::write(folder.path().join("two.json"), r#"{"a": "1", "b": "2"}"#).unwrap();
        fs::write(folder.path().join("short"), "guess-me").unwrap();
        Self { bao, token, folder, taken: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// Begins a read of the file's secret.
    fn file(&self, field: &str) -> Launch {
        get(&format!("file://{}/two.json{field}", self.folder.path().display()))
    }

    /// Begins a read at a server, as somebody who may read nothing there.
    fn vault(&self, address: &str) -> Launch {
        get("vault://secret/orders?kv=2#a").env("VAULT_ADDR", address).env("VAULT_TOKEN", &self.token)
    }

    /// Begins an agent with one delivery of the file's secret, to a folder on a disk; `more` is in the delivery, and `beside` beside it.
    fn agent(&self, more: &str, beside: &str) -> Launch {
        let folder = self.folder.path().display();
        let delivery = format!(
            "name: a, directory: \"{folder}/delivered\", secrets: {{a: \"file://{folder}/two.json\"}}"
        );
        let text = format!("deliveries: [{{{delivery}, {more}}}]\n{beside}\n");
        Launch::new("agent").config(&text)
    }

    /// Has the program say each message.
    fn cases(&self) -> Vec<(&'static str, Launch)> {
        let on_disk = |more: &str| self.agent(&format!("allow_disk: true, {more}"), "").arg("--once");
        let (port, short) = (self.taken.local_addr().unwrap().port(), self.folder.path().join("short"));
        let trusting = |address: &str| self.vault(address).env("VAULT_CACERT", self.bao.ca_file());
        vec![
            ("unknown key `…`; did you mean `…`?", on_disk("file: []")),
            ("there is no provider \"…\"; known: …", get("nowhere://a")),
            ("the variable \"…\" is not set", on_disk("owner: {uid: \"${NOT_SET_ANYWHERE}\"}")),
            (
                "is wrong once its variables are filled in",
                on_disk("overlap: \"${WRONG}\"").env("WRONG", "soon"),
            ),
            (
                "there is no secret `…`; the delivery has …",
                on_disk("files: [{path: x, value: \"{{ b.a }}\"}]"),
            ),
            ("which is not kept in memory", self.agent("splay: 0s", "").arg("--once")),
            ("works only under `keywheel run`", on_disk("on_change: [{restart: {}}]")),
            (
                "the token of `api` can be guessed",
                self.agent(
                    "allow_disk: true",
                    &format!("api: {{listen: \"127.0.0.1:0\", token_file: \"{}\"}}", short.display()),
                ),
            ),
            (
                "cannot listen for the admin endpoint on … Address already in use",
                self.agent("allow_disk: true", &format!("admin: {{listen: \"127.0.0.1:{port}\"}}")),
            ),
            (
                "the ConfigMap that the pod names in its annotation keywheel.dev/config is missing",
                Launch::new("agent")
                    .args(["--config", "/etc/keywheel/keywheel.yaml"])
                    .env("KEYWHEEL_POD_UID", "705ab4f5-6393-11e8-b7cc-42010a800002"),
            ),
            ("cannot read the token file", get("vault://secret/orders?kv=2#a")),
            (
                "cannot read the file: No such file … (ca_file: …",
                self.vault(&self.bao.address()).env("VAULT_CACERT", "/nowhere/at/all"),
            ),
            ("its issuer is not trusted", self.vault(&self.bao.address())),
            (
                "a server that is not verified is not sent a token",
                self.vault(&self.bao.address()).env("VAULT_SKIP_VERIFY", "1"),
            ),
            ("permission denied", trusting(&self.bao.address())),
            ("unavailable", trusting("https://127.0.0.1:1")),
            ("no region is configured", get("aws://prod/orders").env("AWS_EC2_METADATA_DISABLED", "true")),
            ("there is no such file or folder", get("file:///nowhere/at/all")),
            ("the secret has no field \"…\"; it has …", self.file("#c")),
            ("the reference names no field", self.file("")),
            (
                "template failed: … has no field \"…\"; it has …",
                on_disk("files: [{path: x, value: \"{{ a.c }}\"}]"),
            ),
            (
                "validate: rejected: it is not JSON",
                on_disk("files: [{path: x, value: \"{{ a.a }},\"}], validate: [{json: x}]"),
            ),
            (
                "nobody answers at the admin endpoint",
                Launch::new("status").args(["--admin", "http://127.0.0.1:1"]),
            ),
            ("cannot run …: there is no such program", Launch::new("run").args(["--", "/nowhere/at/all"])),
        ]
    }
}

fn get(reference: &str) -> Launch {
    Launch::new("get").arg(reference)
}

#[test]
fn every_message_that_is_explained_is_said() {
    let explained: BTreeSet<String> = explained().into_iter().collect();
    let stage = Stage::new();
    let cases = stage.cases();
    let tried: BTreeSet<String> = cases.iter().map(|(message, _)| (*message).to_owned()).collect();
    assert_eq!(explained, tried, "each row has a case, and each case a row");
    for (message, launch) in cases {
        let finished = launch.output();
        assert!(says(&finished.stderr, message), "nothing says {message:?}:\n{}", finished.stderr);
        assert_ne!(finished.code, Some(0), "{message}");
    }
}

/// Tells whether a line has the parts of a message, in their order.
fn says(output: &str, message: &str) -> bool {
    output.lines().any(|line| {
        let mut rest = Some(line);
        for part in message.split('…') {
            rest = rest.and_then(|rest| Some(rest.split_once(part)?.1));
        }
        rest.is_some()
    })
}
