//! A change of a database's credential under load: an application that proves that it works with it loses no request, and one that does not gets
//! back what it worked with.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::{Accounts, Answers, Keywheel, Launch, Load, Postgres, Stage, WebApp, soak, wait};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_sidecar_replaces_the_credential_of_a_pool_and_no_request_fails() {
    let (accounts, mut app) = (accounts(), WebApp::new());
    let agent = Launch::agent(&configuration(&accounts, &app)).start();
    agent.wait_ready(20 * SECOND);
    app.start(&app.command(&accounts.postgres, &accounts.stage.directory(), None));
    follow(&agent, &app, &accounts);
}

#[test]
fn a_supervisor_replaces_the_credential_of_its_command_and_no_request_fails() {
    let (accounts, app) = (accounts(), WebApp::new());
    let command = app.command(&accounts.postgres, &accounts.stage.directory(), None);
    let run = Launch::new("run").config(&configuration(&accounts, &app)).arg("--").args(command).start();
    app.wait_serving();
    follow(&run, &app, &accounts);
}

/// Accounts that live for six seconds, and are replaced after four.
fn accounts() -> Accounts {
    Accounts::set(6 * SECOND, 6 * SECOND)
}

fn configuration(accounts: &Accounts, app: &WebApp) -> String {
    let delivery = format!(
        "    secrets: {{account: vault://database/creds/app}}
    files:
      - {{path: username, value: \"{{{{ account.username }}}}\"}}
      - {{path: password, value: \"{{{{ account.password }}}}\"}}
    on_change:
      - signal: {{process: {}, signal: SIGHUP}}
    verify: {{http: \"{}\", within: 5s, delay: 100ms, interval: 100ms}}
    overlap: 2s
",
        app.name(),
        app.url("/healthz")
    );
    let config = accounts.stage.configuration(&delivery);
    config.replace("kind: vault,", "kind: vault, budget: {mints_per_hour: 36000},")
}

/// Watches the application under load until its credential was replaced often enough.
fn follow(keywheel: &Keywheel, app: &WebApp, accounts: &Accounts) {
    let changes = soak::count(3, 50);
    let load = Load::start(&app.url("/"), 3);
    let proved = || keywheel.logged("the application works with it").len();
    wait::until(300 * SECOND, "the changes", || {
        keywheel.process().assert_running();
        (proved() >= changes).then_some(())
    });
    let answers = load.finish();
    eprintln!(
        "{} good answers, {} failed, {} users, {changes} changes",
        answers.good,
        answers.failed.len(),
        answers.pages.len()
    );
    assert_eq!(answers.failed, []);
    assert!(answers.pages.len() >= changes && answers.good > 20 * changes, "{answers:?}");
    assert_eq!(keywheel.status()["deliveries"][0]["rollbacks"], 0);
    wait::until(10 * SECOND, "the replaced accounts to be gone", || {
        (accounts.made().len() <= 2).then_some(())
    });
}

#[test]
fn an_application_that_breaks_gets_back_what_it_worked_with() {
    let rollbacks = soak::count(4, 50);
    let (stage, postgres, mut app) = (Stage::set(), Postgres::start(), WebApp::new());
    publish(&stage, &postgres, "good_1");
    let delivery = format!(
        "    secrets: {{account: {{ref: vault://secret/account, refresh: 200ms}}}}
    files:
      - {{path: username, value: \"{{{{ account.username }}}}\"}}
      - {{path: password, value: \"{{{{ account.password }}}}\"}}
    on_change:
      - signal: {{process: {}, signal: SIGHUP}}
    verify: {{http: \"{}\", within: 1s, delay: 300ms, interval: 50ms, successes: 3}}
",
        app.name(),
        app.url("/healthz")
    );
    let agent = Launch::agent(&stage.configuration(&delivery)).start();
    agent.wait_ready(20 * SECOND);
    app.start(&app.command(&postgres, &stage.directory(), Some("bad")));
    let load = Load::start(&app.url("/"), 3);
    let mut broken = Vec::new();
    for number in 1..=rollbacks {
        let begun = wait::monotonic();
        publish(&stage, &postgres, &format!("bad_{number}"));
        let is_back = || {
            let delivery = &agent.status()["deliveries"][0];
            (delivery["rollbacks"] == number && delivery["phase"] == "idle").then_some(())
        };
        assert!(
            wait::within(20 * SECOND, is_back).is_some(),
            "no rollback: {}\n{}",
            agent.status(),
            agent.logs()
        );
        // The application is told of the way back; until it has answered once it may still be on its way.
        app.wait_serving();
        broken.push(begun..wait::monotonic());
        assert!(agent.admin("/readyz").unwrap().status == 200, "it works with what it has");
        wait::throughout(SECOND / 2, "the application to serve", || app_serves(&app));
    }
    publish(&stage, &postgres, "good_2");
    wait::until(20 * SECOND, "the good one", || {
        agent.process().assert_running();
        (std::fs::read_to_string(stage.directory().join("username")).unwrap() == "good_2"
            && agent.status()["deliveries"][0]["phase"] == "idle")
            .then_some(())
    });
    let Answers { good, failed, .. } = load.finish();
    let longest = broken.iter().map(|span| span.end - span.start).max().unwrap();
    let outside =
        failed.iter().filter(|(at, _)| !broken.iter().any(|span| span.contains(at))).collect::<Vec<_>>();
    eprintln!(
        "{rollbacks} rollbacks, each within {longest:?}; {good} good answers, {} failed, {} of them outside",
        failed.len(),
        outside.len()
    );
    assert!(outside.is_empty(), "{outside:?}");
    assert!(longest < 10 * SECOND && !failed.is_empty(), "it was never broken, or for long: {longest:?}");
    let log = agent.process().stderr();
    assert_eq!(
        log.matches("rolled back to the generation that the application worked with").count(),
        rollbacks
    );
    assert!(
        agent
            .admin("/metrics")
            .unwrap()
            .text()
            .contains(&format!("keywheel_rollbacks_total{{delivery=\"orders\"}} {rollbacks}\n"))
    );
}

#[test]
fn the_lease_that_an_application_goes_back_to_is_alive() {
    // Replaced when a third of their life is left, which is more than a proof takes.
    let accounts = Accounts::set(4 * SECOND, 15 * SECOND);
    let trusted = accounts.stage.pod().join("trusted");
    let more = format!(
        "    verify: {{exec: [/bin/sh, -c, 'cmp -s {} {}'], within: 1s, interval: 100ms}}\n    overlap: 10s\n",
        accounts.file().display(),
        trusted.display()
    );
    let agent = accounts.start(&accounts.configuration("creds/app", "1s", &more));
    // The application works with the first one, and with no other.
    std::fs::copy(accounts.file(), &trusted).unwrap();
    let first = accounts.user();
    let probe = accounts.probe();
    let rollbacks = || agent.status()["deliveries"][0]["rollbacks"].as_u64().unwrap();
    wait::until(20 * SECOND, "the way back", || (rollbacks() == 1).then_some(()));
    wait::throughout(2 * SECOND, "the first account", || {
        accounts.user() == first && accounts.made().contains(&first) && rollbacks() == 1
    });
    let seen = probe.finish();
    eprintln!("{} logins, {} failed, {} users", seen.probes, seen.failed, seen.users.len());
    assert_eq!((seen.failed, seen.users.len()), (0, 2), "{seen:?}");
}

fn app_serves(app: &WebApp) -> bool {
    keywheel_tests::http::get(&app.url("/")).is_ok_and(|answer| answer.status == 200)
}

/// Makes an account and publishes it.
fn publish(stage: &Stage, postgres: &Postgres, user: &str) {
    let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(20).collect();
    postgres.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"));
    stage.bao.kv_put("secret", "account", &json!({"username": user, "password": password}));
}
