//! Programs that have Keywheel as a library, as the examples do.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::process::Command;
use std::time::Duration;

use keywheel_tests::scan::{self, left_after_a_second};
use keywheel_tests::{Accounts, Load, OpenBao, Process, Signal, Stage, built, http, ports, soak, wait};
use serde_json::json;
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(20);

/// Starts an example with a token of `policy` in its environment, as a user's shell has it.
fn start(bao: &OpenBao, policy: &str, example: &str, arguments: &[&str], folder: &TempDir) -> Process {
    bao.policy("library", policy);
    let token = bao.token(&json!({"policies": ["default", "library"], "ttl": "1h"}));
    let mut command = Command::new(built::program(&format!("examples/{example}")));
    command.args(arguments).env_clear().env("VAULT_ADDR", bao.address()).env("VAULT_CACERT", bao.ca_file());
    command.env("VAULT_TOKEN", token.token);
    Process::start(example, command, folder.path())
}

#[test]
fn an_application_swaps_its_credential_under_load_and_leaves_no_lease() {
    let span = soak::span(25 * SECOND, 180 * SECOND);
    let accounts = Accounts::set(5 * SECOND, 5 * SECOND);
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", ports::free());
    let database = format!("host=127.0.0.1 port={} dbname=postgres", accounts.postgres.port());
    let policy = r#"
        path "database/creds/app" { capabilities = ["read"] }
        path "sys/leases/*" { capabilities = ["update"] }
    "#;
    let arguments = [&address, &database, "vault://database/creds/app"];
    let bao = &accounts.stage.bao;
    let app = start(bao, policy, "rotating_pool", &arguments, &folder);
    let url = format!("http://{address}/");
    wait::until(BOUND, "the application to serve", || {
        app.assert_running();
        http::get(&url).ok().filter(|answer| answer.status == 200)
    });
    let load = Load::start(&url, 4);
    wait::throughout(span, "the application to run", || app.ended().is_none());
    let answers = load.finish();
    let users = answers.pages.len();
    eprintln!("{span:?}: {} requests, {} failed, {users} users", answers.good, answers.failed.len());
    assert!(answers.failed.is_empty(), "{:?}", answers.failed);
    assert!(users as u64 > span.as_secs() / 6, "{users} users");
    app.signal(Signal::TERM);
    wait::until(BOUND, "the application to end", || app.ended());
    assert_eq!(bao.leases("database/creds/app"), Vec::<String>::new());
    assert_eq!(accounts.made(), Vec::<String>::new());
}

#[test]
fn a_value_that_is_watched_is_in_secret_memory_alone() {
    let (stage, folder) = (Stage::set(), tempfile::tempdir().unwrap());
    let value = |number: usize| {
        format!("{number:03}-{}", std::iter::repeat_with(fastrand::alphanumeric).take(56).collect::<String>())
    };
    let mut values = vec![value(1)];
    stage.bao.kv_put("secret", "orders/db", &json!({"password": &values[0]}));
    let policy = r#"path "secret/*" { capabilities = ["read", "list"] }"#;
    let reference = ["vault://secret/orders/db#password"];
    let program = start(&stage.bao, policy, "watch_one", &reference, &folder);
    let says = |text: &str| {
        wait::until(2 * BOUND, text, || {
            program.assert_running();
            program.stdout().contains(text).then_some(())
        });
    };
    says("version 1 has 60 bytes");
    if !scan::is_possible(program.pid()) {
        return;
    }
    assert_eq!(left_after_a_second(program.pid(), &values), []);
    values.push(value(2));
    stage.bao.kv_put("secret", "orders/db", &json!({"password": &values[1]}));
    says("version 2 has 60 bytes");
    assert_eq!(left_after_a_second(program.pid(), &values), []);
}
