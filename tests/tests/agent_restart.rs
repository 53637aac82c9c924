//! What was delivered before a restart counts after it, also while the server is away.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::time::Duration;

use keywheel_tests::{Launch, Stage, wait};
use serde_json::json;

const BOUND: Duration = Duration::from_secs(15);
const DELIVERY: &str = "    secrets: {db: {ref: \"vault://secret/orders/db\", refresh: 500ms}}\n";

#[test]
fn an_agent_that_starts_during_an_outage_is_ready_with_what_is_there() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "one"}));
    let first = Launch::agent(&stage.configuration(DELIVERY)).start();
    first.wait_ready(BOUND);
    first.terminate(BOUND);
    stage.bao.stop();

    let again = Launch::agent(&stage.configuration(DELIVERY)).start();
    again.wait_ready(BOUND);
    wait::until(BOUND, "the failure to be told", || {
        again.status()["deliveries"][0]["secrets"][0]["error"].as_str().map(str::to_owned)
    });

    again.terminate(BOUND);

    let more = format!("{DELIVERY}    files:\n      - {{path: other, value: \"{{{{ db.password }}}}\"}}\n");
    let changed = Launch::agent(&stage.configuration(&more)).start();
    wait::until(BOUND, "the failure to be told", || {
        let status = changed.status();
        status["deliveries"][0]["secrets"][0]["error"].as_str().map(str::to_owned)
    });
    assert_eq!(changed.admin("/readyz").unwrap().status, 503, "another set of files was never delivered");
}

#[test]
fn a_restart_does_not_hide_that_a_secret_is_stale() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "one"}));
    let strict = DELIVERY.replace("refresh: 500ms", "refresh: 500ms, max_stale: 2s");
    let first = Launch::agent(&stage.configuration(&strict)).start();
    first.wait_ready(BOUND);
    first.terminate(BOUND);
    stage.bao.stop();

    let again = Launch::agent(&stage.configuration(&strict)).start();
    wait::until(BOUND, "the secret to be stale", || {
        let answer = again.admin("/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status == 503 && text.contains("db is stale")).then_some(())
    });
}
