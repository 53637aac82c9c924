//! `keywheel rotate serve` and the incidents that are reported to it: the account that leaked is replaced and ended at once, and nobody has that done
//! who may not.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::disallowed_methods, reason = "the test writes the token file")]

use std::time::Duration;

use keywheel_tests::http::{Answer, Method, Request};
use keywheel_tests::{Keywheel, Launch, Rotations, Signal, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Served {
    stage: Rotations,
    server: Keywheel,
    _folder: TempDir,
}

impl Served {
    fn start(per_hour: u32) -> Self {
        let stage = Rotations::set();
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
        let incidents = format!(
            "incidents:\n  token_file: {}\n  per_hour: {per_hour}\n  rules:\n    - {{rule: \"Read of*\", priority: warning, fields: {{k8s.ns.name: shop}}, rotations: [orders]}}\n",
            token_file.display()
        );
        let configuration = stage.configuration("{every: 30d}", "5m", &incidents);
        let server = Launch::new("rotate").arg("serve").config(&configuration).start();
        server.wait_ready(10 * SECOND);
        Self { stage, server, _folder: folder }
    }

    fn post(&self, token: Option<&str>, body: &Value) -> Answer {
        let url = format!("{}/incidents", self.server.admin_address());
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut request = Request::new(Method::POST, &url).with_json(body);
        if let Some(bearer) = &bearer {
            request = request.with_header("Authorization", bearer);
        }
        request.send().unwrap()
    }

    fn metric(&self, name: &str) -> Option<String> {
        let metrics = self.server.admin("/metrics").unwrap().text();
        metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned)
    }
}

/// An alert as falcosidekick posts it.
fn alert(time: &str) -> Value {
    json!({
        "uuid": "2d8ed48c-ac40-4b4d-a2c3-3b1c22b7f0b4", "priority": "Critical", "rule": "Read of a delivered secret", "time": time,
        "output": "A delivered secret was read (command=cat /run/secrets/orders/password c4n4ry)", "source": "syscall", "hostname": "node-1",
        "output_fields": {"k8s.ns.name": "shop", "proc.cmdline": "cat c4n4ry", "proc.pid": 4711, "proc.pname": null},
        "tags": ["keywheel", "mitre_credential_access"],
    })
}

#[test]
fn an_alert_replaces_the_account_and_ends_what_was_opened_with_it() {
    let served = Served::start(6);
    let Served { stage, server, .. } = &served;
    assert_eq!(stage.version(), 1, "nothing is due");
    let session = stage.database.connect("orders_a", "first");
    let now = jiff::Timestamp::now().to_string();
    let answer = served.post(Some(TOKEN), &alert(&now));
    assert_eq!((answer.status, &answer.json()["rotations"]), (202, &json!(["orders"])), "{}", answer.text());
    wait::until(20 * SECOND, "the account to be replaced, and the old one ended", || {
        server.process().assert_running();
        (stage.open_accounts() == ["orders_b"]).then_some(())
    });
    let (user, password) = stage.published();
    assert!(user == "orders_b" && stage.database.login(&user, &password, SECOND).is_ok());
    assert!(stage.database.login("orders_a", "first", SECOND).is_err());
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders_a'";
    wait::until(5 * SECOND, "the sessions of the account that leaked to end", || {
        (stage.database.query(open)[0][0] == "0").then_some(())
    });
    drop(session);

    // The same incident, told again.
    let again = served.post(Some(TOKEN), &alert(&now));
    assert_eq!((again.status, &again.json()["answered"]), (200, &json!(["orders"])), "{}", again.text());
    let other = json!({"priority": "Notice", "rule": "Read of a delivered secret", "time": now, "output_fields": {"k8s.ns.name": "shop"}});
    let other = served.post(Some(TOKEN), &other);
    assert_eq!((other.status, &other.json()["rotations"]), (200, &json!([])), "{}", other.text());

    let audit = server.logged("rotation");
    let finish = audit.iter().find(|line| line["step"] == "finish").unwrap();
    assert_eq!(finish["reason"], format!("Falco: Read of a delivered secret at {now}"), "{finish}");
    assert_eq!(server.logged("incident").len(), 3);
    assert!(
        !server.logs().contains("c4n4ry")
            && !server.logs().contains(TOKEN)
            && !server.logs().contains(&password)
    );
    wait::until(5 * SECOND, "the status to say so", || {
        let status = server.status();
        (status[0]["phase"] == "idle" && status[0]["version"] == "2").then_some(())
    });
    assert_eq!(
        served.metric("keywheel_rotations_total{rotation=\"orders\",outcome=\"published\"}").as_deref(),
        Some("1")
    );
    assert_eq!(served.metric("keywheel_incidents_total{outcome=\"accepted\"}").as_deref(), Some("2"));
    server.process().signal(Signal::TERM);
    assert!(server.process().wait_for_end(20 * SECOND).success());
    assert_eq!(stage.version(), 2);
}

#[test]
fn who_may_not_report_or_reports_too_much_has_nothing_done() {
    let served = Served::start(1);
    let at = |offset: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(offset)).to_string();
    for token in [None, Some(""), Some("0123456789abcdef0123456789abcdeX"), Some("0123456789abcdef")] {
        assert_eq!(served.post(token, &alert(&at(0))).status, 401);
    }
    assert_eq!(served.post(Some(TOKEN), &json!({"rule": "c4n4ry"})).status, 400);
    let large = json!({"output": "x".repeat(70_000)});
    assert_eq!(served.post(Some(TOKEN), &large).status, 413);
    assert_eq!(served.stage.version(), 1);
    assert_eq!(served.post(Some(TOKEN), &alert(&at(0))).status, 202);
    wait::until(20 * SECOND, "the one that may be", || {
        (served.stage.open_accounts() == ["orders_b"]).then_some(())
    });
    // Something that happens after it, as far as its reporter's clock says.
    assert_eq!(served.post(Some(TOKEN), &alert(&at(3600))).status, 429);
    assert_eq!(served.metric("keywheel_incidents_total{outcome=\"refused\"}").as_deref(), Some("4"));
    assert_eq!(served.metric("keywheel_incidents_total{outcome=\"limited\"}").as_deref(), Some("1"));
    wait::throughout(SECOND, "it is rotated once", || served.stage.version() == 2);
    assert!(!served.server.logs().contains("c4n4ry"));
}

#[test]
fn who_has_no_token_fills_neither_the_log_nor_the_file_descriptors() {
    let served = Served::start(6);
    let now = jiff::Timestamp::now().to_string();
    for count in 0..30 {
        let token = (count % 2 == 0).then_some("0123456789abcdef0123456789abcdeX");
        assert_eq!(served.post(token, &alert(&now)).status, 401);
    }
    assert_eq!(served.metric("keywheel_incidents_total{outcome=\"refused\"}").as_deref(), Some("30"));
    assert_eq!(served.server.logged("incident").len(), 10);

    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", served.server.process().pid())).unwrap().count();
    let before = descriptors();
    let address = served.server.admin_address().trim_start_matches("http://").to_owned();
    let silent: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    wait::until(5 * SECOND, "as many as there are places for", || {
        (descriptors() >= before + 100).then_some(())
    });
    wait::throughout(SECOND, "no more connections than there are places for", || {
        descriptors() <= before + 140
    });
    drop(silent);
    assert_eq!(served.post(Some(TOKEN), &alert(&now)).status, 202);
}

#[test]
fn the_endpoint_says_how_the_rotations_stand() {
    let stage = Rotations::set();
    let server =
        Launch::new("rotate").arg("serve").config(&stage.configuration("{every: 30d}", "5m", "")).start();
    server.wait_ready(10 * SECOND);
    assert_eq!(server.admin("/livez").unwrap().status, 200);
    assert_eq!(server.status()[0]["name"], "orders");
    let url = format!("{}/incidents", server.admin_address());
    assert_eq!(Request::new(Method::POST, &url).with_json(&json!({})).send().unwrap().status, 404);
    assert!(
        server
            .admin("/metrics")
            .unwrap()
            .text()
            .contains("keywheel_rotation_due_timestamp_seconds{rotation=\"orders\"}")
    );
}

#[test]
fn what_would_be_found_out_in_an_emergency_is_found_out_at_the_start() {
    let stage = Rotations::set();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "short").unwrap();
    let incidents = format!(
        "incidents: {{token_file: {}, rules: [{{tags: [a], rotations: [orders]}}]}}\n",
        file.display()
    );
    let configuration = stage.configuration("{every: 30d}", "5m", &incidents);
    let admin = "admin: {listen: \"127.0.0.1:0\"}\n";
    let refused = |configuration: &str, words: &str| {
        let done = Launch::new("rotate").arg("serve").config(configuration).output();
        assert!(
            done.code == Some(64) && done.stderr.contains(words),
            "{words}: {:?} {}",
            done.code,
            done.stderr
        );
        assert!(!done.stderr.contains("short\n"));
    };
    refused(&configuration, "it needs `admin:");
    refused(&format!("{configuration}{admin}"), "can be guessed");
    refused(&configuration.replace("rotations: [orders]", "rotations: [other]"), "no rotation \"other\"");
}
