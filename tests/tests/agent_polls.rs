//! A hundred secrets of one folder cost one request an interval where the server lists versions, and a change of any is seen within it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use keywheel_tests::openbao::Seen;
use keywheel_tests::{Keywheel, Launch, Stage, wait};
use serde_json::json;

const SECRETS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(20);

#[test]
fn one_list_asks_for_all_where_the_server_has_it() {
    let (stage, agent) = play(r#"path "secret/*" { capabilities = ["read", "list"] }"#);
    let requests = watch(&stage, &agent);
    // The intervals are 80 to 100 % of two seconds.
    assert!((10..=13).contains(&requests.len()), "{} requests in {WATCHED:?}", requests.len());
    assert!(requests.iter().all(|request| request.path == "secret/detailed-metadata/shop/"));
    let said = agent.logged("one request asks for the versions of all secrets of the folder");
    assert_eq!(said.len(), 1);

    let begun = wait::monotonic();
    stage.bao.kv_put("secret", "shop/s7", &json!({"value": "new"}));
    let file = stage.directory().join("s7/value");
    wait::until(3 * SECOND, "the change", || (fs::read(&file).unwrap() == b"new").then_some(()));
    eprintln!("a change was there after {:?}", wait::monotonic() - begun);
}

#[test]
fn each_asks_for_itself_where_the_policy_allows_no_list() {
    let (stage, agent) = play(r#"path "secret/*" { capabilities = ["read"] }"#);
    let requests = watch(&stage, &agent);
    let metadata = |request: &&Seen| request.path.starts_with("secret/metadata/shop/");
    let asked = requests.iter().filter(metadata).count();
    assert!((900..=1300).contains(&asked), "{asked} requests in {WATCHED:?}");
    assert_eq!(asked, requests.len(), "the list is asked for no more");
    let said = agent.logs().matches("the policy does not allow versions to be listed").count();
    assert_eq!(said, 1);
}

fn play(policy: &str) -> (Stage, Keywheel) {
    let stage = Stage::set();
    stage.bao.policy("orders", policy);
    let mut delivery = "    secrets:\n".to_owned();
    for index in 0..SECRETS {
        stage.bao.kv_put("secret", &format!("shop/s{index}"), &json!({"value": index.to_string()}));
        writeln!(delivery, "      s{index}: {{ref: \"vault://secret/shop/s{index}\", refresh: 2s}}").unwrap();
    }
    let agent = Launch::agent(&stage.configuration(&delivery)).start();
    agent.wait_ready(20 * SECOND);
    // The first poll finds out what the server can.
    let mark = stage.bao.mark();
    wait::until(10 * SECOND, "a first poll", || (!stage.bao.requests_since(mark).is_empty()).then_some(()));
    wait::throughout(2 * SECOND, "the agent to run", || agent.process().ended().is_none());
    (stage, agent)
}

/// Returns what the agent asks in a quiet time.
fn watch(stage: &Stage, agent: &Keywheel) -> Vec<Seen> {
    let (mark, cpu) = (stage.bao.mark(), agent.process().cpu_time());
    wait::throughout(WATCHED, "the agent to be ready", || agent.process().ended().is_none());
    let requests = stage.bao.requests_since(mark);
    eprintln!("{} requests and {:?} of CPU in {WATCHED:?}", requests.len(), agent.process().cpu_time() - cpu);
    requests
}
