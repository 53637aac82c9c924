//! What somebody may ask a running agent for: how it stands, fresh secrets, an end.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::time::Duration;

use keywheel_tests::http::{Answer, Method, Request};
use keywheel_tests::{Keywheel, Launch, Stage, wait};
use serde_json::json;

#[test]
fn a_refresh_delivers_now_and_waits_for_it() {
    let stage = stage();
    let agent = start(&stage, SLOW);
    let refreshed = |arguments: &[&str]| {
        Launch::new("refresh").args(arguments).args(["--admin", agent.admin_address()]).output()
    };
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "second"}));
    let finished = refreshed(&["orders"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.starts_with("orders: .."), "{}", finished.stdout);
    assert_eq!(delivered(&stage), "second");
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "third"}));
    assert_eq!(refreshed(&[]).code, Some(0));
    assert_eq!(delivered(&stage), "third");

    let unknown = refreshed(&["order"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("known: orders"), "{}", unknown.stderr);

    stage.forbid();
    let denied = refreshed(&[]);
    assert_eq!(denied.code, Some(1));
    assert!(denied.stdout.contains("permission denied"), "{}", denied.stdout);
    assert_eq!(delivered(&stage), "third");
}

#[test]
fn the_status_is_a_table_or_json() {
    let stage = stage();
    let agent = start(&stage, SLOW);
    let status = |more: &[&str]| {
        let finished = Launch::new("status").args(["--admin", agent.admin_address()]).args(more).output();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished.stdout
    };
    let table = status(&[]);
    let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["SECRET", "VERSION", "AGE", "NEXT", "ENDS", "LAST", "ERROR"]);
    assert_eq!(cells[1][..2], ["orders/db", "1"]);
    let json: serde_json::Value = serde_json::from_str(&status(&["--json"])).unwrap();
    assert_eq!(json["ready"], true);
    assert_eq!(json["deliveries"][0]["secrets"][0]["version"], "1");
}

#[test]
fn a_watched_status_follows_the_agent_and_outlives_it() {
    let stage = stage();
    let agent = start(&stage, SLOW);
    let watching = Launch::new("status").args(["--admin", agent.admin_address(), "--watch"]).start();
    let shows = |what: &str, text: &dyn Fn(&str) -> bool| {
        wait::until(Duration::from_secs(20), what, || text(&watching.process().stdout()).then_some(()));
    };
    shows("two tables", &|text| text.matches("SECRET").count() >= 2);
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "second"}));
    let refreshed = Launch::new("refresh").args(["--admin", agent.admin_address()]).output();
    assert_eq!(refreshed.code, Some(0), "{}", refreshed.stderr);
    shows("the second version", &|text| text.lines().any(|line| line.starts_with("orders/db  2 ")));
    agent.terminate(Duration::from_secs(10));
    shows("that nobody answers", &|text| text.contains("nobody answers at the admin endpoint"));
    assert!(watching.process().ended().is_none());
}

#[test]
fn readiness_is_an_exit_code() {
    let stage = stage();
    let agent = start(&stage, SLOW);
    let ready = |arguments: &[&str]| Launch::new("status").arg("--ready").args(arguments).output();
    let finished = ready(&["--admin", agent.admin_address()]);
    assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (Some(0), "", ""));
    // As a probe in a container asks: by the configuration that the agent has.
    let address = agent.admin_address().trim_start_matches("http://");
    let configuration = |admin: &str| {
        Launch::new("status").arg("--ready").config(&format!("providers: {{}}\n{admin}\n")).output()
    };
    assert_eq!(configuration(&format!("admin: {{listen: \"{address}\"}}")).code, Some(0));
    let nowhere = configuration("");
    assert_eq!(nowhere.code, Some(64));
    assert!(nowhere.stderr.contains("names no admin endpoint"), "{}", nowhere.stderr);

    let stage = self::stage();
    stage.forbid();
    let waiting = Launch::agent(&stage.configuration(SLOW)).start();
    wait::until(BOUND, "the admin endpoint", || waiting.admin("/livez"));
    let finished = ready(&["--admin", waiting.admin_address()]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("not ready: orders: waits for db"), "{}", finished.stderr);
}

#[test]
fn nobody_at_the_admin_endpoint_is_told_from_a_failure() {
    for arguments in
        [["status", "--admin", "http://127.0.0.1:1"], ["refresh", "--admin", "unix:/no/such.sock"]]
    {
        let finished = Launch::new(arguments[0]).args(&arguments[1..]).output();
        assert_eq!(finished.code, Some(69), "{}", finished.stderr);
        assert!(finished.stderr.contains(&arguments[2][..10]), "{}", finished.stderr);
    }
}

#[test]
fn an_agent_is_ended_orderly() {
    let stage = stage();
    let mark = stage.bao.mark();
    let agent = start(&stage, SLOW);
    assert_eq!(post(&agent, "/quit", &[]).status, 202);
    assert_eq!(agent.process().wait_for_end(Duration::from_secs(10)).code(), Some(0));
    assert_eq!(stage.bao.count_since(mark, "auth/token/revoke-self"), 1);
    assert_eq!(delivered(&stage), "first");
}

#[test]
fn a_web_page_may_not_ask_for_anything() {
    let stage = stage();
    let agent = start(&stage, SLOW);
    for headers in [
        [("Origin", "https://evil.test")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Host", "evil.test")],
        [("Host", "127.0.0.1.evil.test")],
    ] {
        for path in ["/quit", "/refresh"] {
            assert_eq!(post(&agent, path, &headers).status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(agent.admin("/quit").unwrap().status, 405, "a link is no request to end");
    assert_eq!(agent.process().ended(), None);
    assert_eq!(post(&agent, "/refresh", &[("Host", "localhost:9464")]).status, 200);
}

#[test]
fn a_socket_is_asked_as_a_port_is() {
    let stage = stage();
    let socket = stage.volume.path().join("admin.sock");
    let config = format!("{}\nadmin: {{listen: \"unix:{}\"}}\n", stage.configuration(SLOW), socket.display());
    let agent = Launch::agent(&config).start();
    let admin = format!("unix:{}", socket.display());
    let ask = |subcommand: &str| Launch::new(subcommand).args(["--admin", &admin]).output();
    wait::until(BOUND, "the first generation", || {
        stage.directory().join("db/password").exists().then_some(())
    });
    let refreshed = ask("refresh");
    assert_eq!(refreshed.code, Some(0), "{}", refreshed.stderr);
    assert!(ask("status").stdout.contains("orders/db"));
    assert_eq!(agent.terminate(BOUND), Some(0));
}

#[test]
fn a_command_is_ended_through_its_supervisor() {
    let stage = stage();
    let run = Launch::new("run").config(&stage.configuration(SLOW));
    let run = run.args([
        "--",
        "sh",
        "-c",
        "trap 'exit 7' TERM; while kill -0 $PPID 2>/dev/null; do sleep 0.02; done",
    ]);
    let run = run.start();
    run.wait_ready(BOUND);
    wait::until(BOUND, "the command", || children(run.process().pid()).then_some(()));
    assert_eq!(post(&run, "/quit", &[]).status, 202);
    // Before its trap is set the signal itself ends it.
    assert!(matches!(run.process().wait_for_end(BOUND).code(), Some(7 | 143)));
}

fn children(pid: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.is_ok_and(|children| !children.trim().is_empty())
}

fn stage() -> Stage {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "first"}));
    stage
}

fn start(stage: &Stage, delivery: &str) -> Keywheel {
    let agent = Launch::agent(&stage.configuration(delivery)).start();
    agent.wait_ready(BOUND);
    agent
}

fn post(agent: &Keywheel, path: &str, headers: &[(&str, &str)]) -> Answer {
    let url = format!("{}{path}", agent.admin_address());
    let mut request = Request::new(Method::POST, &url);
    for (name, value) in headers {
        request = request.with_header(name, value);
    }
    request.send().unwrap()
}

fn delivered(stage: &Stage) -> String {
    fs::read_to_string(stage.directory().join("db/password")).unwrap()
}

/// Nothing is noticed by itself while a test runs.
const SLOW: &str = "    secrets: {db: {ref: vault://secret/orders/db, refresh: 1h}}";
const BOUND: Duration = Duration::from_secs(20);
