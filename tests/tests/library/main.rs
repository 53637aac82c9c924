//! Programs that have Keywheel as a library: the examples, the adapters, and one whose tasks end anywhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

mod adapters;
mod disturbed;
mod tls;

use std::process::Command;
use std::time::Duration;

use keywheel_core::Client;
use keywheel_core::client::ClientBuilder;
use keywheel_core::environment::Environment;
use keywheel_tests::scan::{self, left_after_a_second};
use keywheel_tests::{Accounts, Load, OpenBao, Process, Signal, Stage, built, http, ports, soak, wait};
use serde_json::json;
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(20);
const ACCOUNTS: &str = r#"
    path "database/creds/*" { capabilities = ["read"] }
    path "sys/leases/*" { capabilities = ["update"] }
"#;
const SECRETS: &str = r#"path "secret/*" { capabilities = ["read", "list"] }"#;

/// Returns what a user's shell has: the server, and a token of `policy`.
fn environment(bao: &OpenBao, policy: &str) -> [(&'static str, String); 3] {
    bao.policy("library", policy);
    let token = bao.token(&json!({"policies": ["default", "library"], "ttl": "1h"})).token;
    let ca_file = bao.ca_file().display().to_string();
    [("VAULT_ADDR", bao.address()), ("VAULT_CACERT", ca_file), ("VAULT_TOKEN", token)]
}

/// Begins a client with that in its environment. It logs in for nothing, so that each lease is given back by itself.
fn client(bao: &OpenBao, policy: &str) -> ClientBuilder {
    let environment: Environment = environment(bao, policy).into_iter().collect();
    keywheel_providers::builder_from(&environment).unwrap()
}

/// Starts an example with that in its environment.
fn start(bao: &OpenBao, policy: &str, example: &str, arguments: &[&str], folder: &TempDir) -> Process {
    let mut command = Command::new(built::program(&format!("examples/{example}")));
    command.args(arguments).env_clear().envs(environment(bao, policy));
    Process::start(example, command, folder.path())
}

fn database(accounts: &Accounts) -> String {
    format!("host=127.0.0.1 port={} dbname=postgres", accounts.postgres.port())
}

fn end(program: &Process) {
    program.signal(Signal::TERM);
    let status = wait::until(BOUND, "the program to end", || program.ended());
    assert!(status.success(), "{status}: {}", program.stderr());
}

#[test]
fn a_web_application_swaps_its_credential_under_load_and_leaves_no_lease() {
    let span = soak::span(25 * SECOND, 180 * SECOND);
    let accounts = Accounts::set(5 * SECOND, 5 * SECOND);
    let folder = tempfile::tempdir().unwrap();
    let (address, bao) = (format!("127.0.0.1:{}", ports::free()), &accounts.stage.bao);
    let arguments = [&address, &database(&accounts), "vault://database/creds/app"];
    let app = start(bao, ACCOUNTS, "web-app", &arguments, &folder);
    let url = format!("http://{address}/");
    wait::until(BOUND, "the application to serve", || {
        app.assert_running();
        http::get(&url).ok().filter(|answer| answer.status == 200)
    });
    let load = Load::start(&url, 4);
    wait::throughout(span, "the application to run", || app.ended().is_none());
    let answers = load.finish();
    let changes = answers.pages.len() - 1;
    eprintln!("{span:?}: {} requests, {} failed, {changes} changes", answers.good, answers.failed.len());
    assert!(answers.failed.is_empty(), "{:?}", answers.failed);
    assert!(changes as u64 >= span.as_secs() / 9, "{changes} changes");
    end(&app);
    assert_eq!(bao.leases("database/creds/app"), Vec::<String>::new());
    assert_eq!(accounts.made(), Vec::<String>::new());
}

#[test]
fn a_job_keeps_its_credential_alive_and_leaves_none() {
    // Without a renewal, the account and its session would be gone before the job is done.
    let accounts = Accounts::set(3 * SECOND, 60 * SECOND);
    let folder = tempfile::tempdir().unwrap();
    let bao = &accounts.stage.bao;
    for (statement, succeeds) in [("SELECT pg_sleep(8)", true), ("SELECT no_such_column", false)] {
        let arguments = [&database(&accounts), "vault://database/creds/app", statement];
        let job = start(bao, ACCOUNTS, "batch_job", &arguments, &folder);
        let status = wait::until(2 * BOUND, "the job to end", || job.ended());
        assert_eq!(status.success(), succeeds, "{statement}: {}", job.stderr());
        assert_eq!(bao.leases("database/creds/app"), Vec::<String>::new());
    }
    assert_eq!(accounts.made(), Vec::<String>::new());
}

#[test]
fn a_handler_sees_the_newest_value_without_a_restart() {
    let (stage, folder) = (Stage::set(), tempfile::tempdir().unwrap());
    let put = |sender| stage.bao.kv_put("secret", "shop/mail", &json!({"sender": sender, "token": "t"}));
    put("one@shop.test");
    let address = format!("127.0.0.1:{}", ports::free());
    let app = start(&stage.bao, SECRETS, "axum_state", &[&address, "vault://secret/shop/mail"], &folder);
    let answers = |text: &str| {
        wait::until(3 * BOUND, text, || {
            app.assert_running();
            let answer = http::get(&format!("http://{address}/sender")).ok();
            answer.filter(|answer| answer.text() == text)
        });
    };
    answers("one@shop.test with a token of 1 letters, version 1");
    put("two@shop.test");
    answers("two@shop.test with a token of 1 letters, version 2");
    end(&app);
}

#[test]
fn a_value_that_is_watched_is_in_secret_memory_alone() {
    let (stage, folder) = (Stage::set(), tempfile::tempdir().unwrap());
    let value = |number: usize| {
        format!("{number:03}-{}", std::iter::repeat_with(fastrand::alphanumeric).take(56).collect::<String>())
    };
    let mut values = vec![value(1)];
    stage.bao.kv_put("secret", "orders/db", &json!({"password": &values[0]}));
    let reference = ["vault://secret/orders/db#password"];
    let program = start(&stage.bao, SECRETS, "watch_one", &reference, &folder);
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
