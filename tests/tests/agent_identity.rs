//! Who the agent is to the server: each way to log in, and tokens that are replaced under way; and which kinds of
//! reference reach their secret.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fs;
use std::time::Duration;

use keywheel_tests::{Fault, Faults, Keywheel, Launch, Readers, Stage, generation, stage, wait};
use serde_json::json;

#[test]
fn a_replaced_service_account_token_and_its_end_interrupt_nothing() {
    // Logins that end after four seconds: the agent has to log in again all the time, with the pod's token of the moment.
    let stage = Stage::with_logins(&json!({"token_ttl": "4s", "token_max_ttl": "4s"}));
    let old = stage.project_token(0..8);
    put(&stage, 1);
    let (agent, mark) = (start(&stage.configuration(DELIVERY)), stage.bao.mark());
    let readers = Readers::start(&stage.directory(), &[("db/password", 0o440)], 2);

    let refused = || stage.bao.jwt_login("jwt", "orders", &old).status == 400;
    let begun = wait::monotonic();
    let (mut generation, mut replaced, mut ended_at) = (1, false, None);
    while ended_at.is_none_or(|ended_at| wait::monotonic() < ended_at + Duration::from_secs(8)) {
        generation += 1;
        put(&stage, generation);
        arrives(&stage, generation);
        assert_eq!(agent.admin("/readyz").unwrap().status, 200);
        if !replaced && wait::monotonic() - begun > Duration::from_secs(5) {
            stage.project_token(0..600);
            replaced = true;
        }
        if ended_at.is_none() && refused() {
            assert!(replaced, "the old token ended before the new one was there");
            ended_at = Some(wait::monotonic());
        }
    }
    let logins = stage.bao.count_since(mark, "auth/jwt/login");
    eprintln!("{} changes and {logins} logins in {:?}", generation - 1, wait::monotonic() - begun);
    assert!((4..=12).contains(&logins), "{logins} logins");
    assert_eq!(readers.finish().faults, [""; 0]);
    assert_eq!(
        agent.logged("cannot read the secret; the last good value stays").len(),
        0,
        "{}",
        agent.logs()
    );
}

#[test]
fn a_service_account_token_that_comes_too_late_is_taken_up_when_it_comes() {
    let stage = Stage::with_logins(&json!({"token_ttl": "2s", "token_max_ttl": "2s"}));
    let old = stage.project_token(0..3);
    put(&stage, 1);
    let (agent, mark) = (start(&stage.configuration(DELIVERY)), stage.bao.mark());
    wait::until(Duration::from_secs(15), "the pod's token to end", || {
        (stage.bao.jwt_login("jwt", "orders", &old).status == 400).then_some(())
    });
    wait::until(Duration::from_secs(15), "logins to fail", || {
        (!agent.status()["deliveries"][0]["secrets"][0]["error"].is_null()).then_some(())
    });
    let error = agent.status()["deliveries"][0]["secrets"][0]["error"].to_string();
    assert!(error.contains("expired"), "{error}");
    assert_eq!(agent.admin("/readyz").unwrap().status, 200);

    let asked = stage.bao.requests_since(mark).len();
    stage.project_token(0..600);
    put(&stage, 2);
    let begun = wait::monotonic();
    wait::until(Duration::from_secs(30), "the new value", || (read(&stage) == Some(2)).then_some(()));
    eprintln!("{asked} requests before; recovered {:?} after the new token", wait::monotonic() - begun);
}

#[test]
fn an_approle_logs_in_with_ids_from_files() {
    let stage = Stage::set();
    stage.bao.enable_approle("approle");
    let (role_id, secret_id) =
        stage.bao.approle("approle", "orders", &json!({"token_policies": ["orders"], "token_ttl": "1h"}));
    let (role_file, secret_file) = (stage.pod().join("role-id"), stage.pod().join("secret-id"));
    fs::write(&role_file, format!("{role_id}\n")).unwrap();
    fs::write(&secret_file, format!("{secret_id}\n")).unwrap();
    let auth = format!(
        "{{method: approle, role_id_file: {}, secret_id_file: {}}}",
        role_file.display(),
        secret_file.display()
    );
    let mark = stage.bao.mark();
    follows(&stage, &stage.configuration_with(&auth, DELIVERY));
    assert_eq!(stage.bao.count_since(mark, "auth/approle/login"), 1);
}

#[test]
fn a_token_is_taken_from_its_file_and_from_the_configuration() {
    let stage = Stage::set();
    let token = stage.bao.token(&json!({"policies": ["orders"], "ttl": "1h"}));
    let file = stage.pod().join("vault-token");
    fs::write(&file, format!("{}\n", token.token)).unwrap();
    follows(
        &stage,
        &stage.configuration_with(&format!("{{method: token, token_file: {}}}", file.display()), DELIVERY),
    );

    // A token that somebody else obtained is not the agent's to revoke, though it stopped since.
    let lookup = json!({"accessor": token.accessor});
    stage.bao.write("auth/token/lookup-accessor", &lookup);

    let config = stage.configuration_with("{method: token, token: \"${ORDERS_TOKEN}\"}", DELIVERY);
    put(&stage, 1);
    let agent = Launch::agent(&config).env("ORDERS_TOKEN", &token.token).start();
    agent.wait_ready(START);
    put(&stage, 2);
    arrives(&stage, 2);
}

#[test]
fn kv_version_1_is_followed() {
    let stage = Stage::set();
    let put = |generation| {
        stage.bao.kv1_put("kv1", "orders/db", &json!({"password": generation::value(generation, 100)}))
    };
    put(1);
    let config = stage.configuration(&DELIVERY.replace("vault://secret", "vault://kv1"));
    let agent = start(&config);
    put(2);
    arrives(&stage, 2);
    put(2);
    assert_eq!(agent.logged("delivered").len(), 2);
}

#[test]
fn an_older_version_stays_what_it_is() {
    let stage = Stage::set();
    put(&stage, 1);
    put(&stage, 2);
    let config = stage.configuration(&DELIVERY.replace("orders/db\"", "orders/db?version=1\""));
    let agent = start(&config);
    assert_eq!(read(&stage), Some(1));
    put(&stage, 3);
    let status = agent.status();
    wait::until(Duration::from_secs(5), "another interval to pass", || {
        (agent.status()["deliveries"][0]["secrets"][0]["confirmed_at"]
            != status["deliveries"][0]["secrets"][0]["confirmed_at"])
            .then_some(())
    });
    assert_eq!(read(&stage), Some(1));
}

#[test]
fn a_mount_that_may_not_be_asked_about_is_named_by_the_reference() {
    let stage = Stage::set();
    put(&stage, 1);
    let faults = Faults::before(&stage.bao.plain_address());
    faults.show_at(
        "/v1/sys/internal/ui/mounts",
        Fault::Answer { status: 403, body: r#"{"errors":["permission denied"]}"#.into() },
    );
    let auth = format!("{{method: jwt, role: orders, token_file: {}}}", stage.token_file().display());
    let vault = format!("address: \"{}\", auth: {auth}", faults.address());
    let without =
        Launch::agent(&stage::configuration(&vault, &stage.directory(), DELIVERY)).arg("--once").output();
    assert_eq!(without.code, Some(77), "{}", without.stderr);
    assert!(without.stderr.contains("?kv=2"), "{}", without.stderr);

    let with = DELIVERY.replace("orders/db\"", "orders/db?kv=2\"");
    let asked =
        |prefix: &str| faults.arrived().iter().filter(|request| request.path.starts_with(prefix)).count();
    let before = asked("/v1/sys/internal");
    follows(&stage, &stage::configuration(&vault, &stage.directory(), &with));
    assert_eq!(asked("/v1/sys/internal"), before, "what is said is not asked");
}

#[test]
fn a_policy_without_metadata_is_followed_by_reading_values() {
    let stage = Stage::set();
    stage.bao.policy("orders", r#"path "secret/data/orders/*" { capabilities = ["read"] }"#);
    follows(&stage, &stage.configuration(DELIVERY));
}

const DELIVERY: &str = r#"
    secrets:
      db: {ref: "vault://secret/orders/db", refresh: 200ms}
    files:
      - {path: db/password, value: "{{ db.password }}", mode: "0440"}
"#;

/// Starts an agent, and sees a first value and a change arrive.
fn follows(stage: &Stage, config: &str) {
    put(stage, 1);
    let agent = start(config);
    assert_eq!(read(stage), Some(1));
    put(stage, 2);
    arrives(stage, 2);
    assert_eq!(agent.terminate(Duration::from_secs(5)), Some(0));
}

fn start(config: &str) -> Keywheel {
    let agent = Launch::agent(config).start();
    agent.wait_ready(START);
    agent
}

fn put(stage: &Stage, generation: u64) {
    stage.bao.kv_put("secret", "orders/db", &json!({"password": generation::value(generation, 2000)}));
}

fn read(stage: &Stage) -> Option<u64> {
    let content = fs::read(stage.directory().join("db/password")).ok()?;
    Some(generation::read(&content).unwrap())
}

fn arrives(stage: &Stage, generation: u64) {
    let bound = Duration::from_millis(1200);
    wait::until(bound, &format!("generation {generation}"), || {
        (read(stage) == Some(generation)).then_some(())
    });
}

const START: Duration = Duration::from_secs(15);
