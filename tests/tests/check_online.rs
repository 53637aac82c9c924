//! `keywheel check --online` goes the whole way, and says at which step it ends and what to do.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::time::Duration;

use keywheel_tests::http::{Method, Request};
use keywheel_tests::{Launch, Moto, OpenBao, Postgres, Stage, Witness, wait};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs the check and returns its exit code and the lines of one step.
fn check(configuration: &str, step: &str) -> (i32, String) {
    let done = Launch::new("check").arg("--online").config(configuration).output();
    let lines: Vec<&str> = done.stdout.lines().filter(|line| line.contains(step)).collect();
    assert!(!lines.is_empty(), "no {step:?}:\n{}{}", done.stdout, done.stderr);
    assert!(!done.stdout.contains("c4n4ry"), "{}", done.stdout);
    (done.code.unwrap(), lines.join("\n"))
}

#[test]
fn the_whole_way_is_gone_and_nothing_is_left_of_it() {
    let (stage, postgres, witness) = (Stage::set(), Postgres::start(), Witness::start());
    stage.bao.enable_database(&postgres);
    stage.bao.dynamic_role("orders", HOUR, HOUR);
    stage.bao.kv_put("secret", "orders", &json!({"password": "c4n4ry", "user": "orders"}));
    let signal = format!("signal: {{pid_file: {}, signal: SIGHUP}}", witness.pid_file().display());
    let delivery = format!(
        "    secrets: {{db: vault://secret/orders, creds: vault://database/creds/orders, one: \"vault://secret/orders#user\"}}\n    on_change: [{signal}]\n"
    );
    let done = Launch::new("check").arg("--online").config(&stage.configuration(&delivery)).output();
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    for line in [
        "provider vault",
        "✓ token   ",
        "system:serviceaccount:shop:orders, audience vault, ends in ",
        "✓ server  ",
        ", version 2.",
        "✓ login   as jwt jwt orders: policies default, orders; ends in ",
        "delivery orders",
        "✓ secret creds  fields password, username; a lease of 1h",
        "✓ secret db     fields password, user; version 1",
        "✓ directory     tmpfs, ",
        "✓ signal        process ",
    ] {
        assert!(done.stdout.contains(line), "no {line:?}:\n{}", done.stdout);
    }
    assert!(!done.stdout.contains("c4n4ry") && !done.stdout.contains('✗'), "{}", done.stdout);
    wait::until(Duration::from_secs(10), "the lease to be given back", || {
        stage.bao.leases("database/creds/orders").is_empty().then_some(())
    });
    assert!(witness.signals().is_empty(), "nobody is told anything");
    assert!(!stage.directory().exists(), "nothing is delivered");
}

#[test]
fn each_thing_that_is_wrong_is_said_with_what_to_do() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders", &json!({"password": "c4n4ry"}));
    let delivery = "    secrets: {db: vault://secret/orders}\n";
    let good = stage.configuration(delivery);
    let says = |configuration: &str, step: &str, code: i32, words: &[&str]| {
        let (got, lines) = check(configuration, step);
        assert_eq!(got, code, "{lines}");
        assert!(words.iter().all(|word| lines.contains(word)), "{words:?}: {lines}");
    };

    stage.project_token(-600..-60);
    says(&good, "✗ token", 77, &["the token ended", "ago", "projected"]);
    says(&good, "- secret db", 77, &["its provider was not reached"]);
    fs::write(stage.token_file(), stage.token_for("other")).unwrap();
    says(&good, "✗ login", 77, &["another audience"]);
    says(&good, "✓ token", 77, &["audience other"]);
    fs::write(stage.token_file(), "c4n4ry").unwrap();
    says(&good, "✗ token", 77, &["not a JWT"]);
    fs::remove_file(stage.token_file()).unwrap();
    says(&good, "✗ token", 77, &["cannot read the token file"]);
    stage.project_token(0..3600);
    says(&good, "✓ login", 0, &["jwt jwt orders"]);

    let other = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to)
    };
    says(&other("role: orders", "role: others"), "✗ login", 77, &["role"]);
    says(&other("https://127.0.0.1", "https://nowhere.invalid"), "✗ name", 69, &["not found"]);
    says(&other(&stage.bao.address(), "https://127.0.0.1:1"), "✗ server", 69, &["refused"]);
    let without_ca = other(&format!("ca_file: {}, ", stage.bao.ca_file().display()), "");
    says(&without_ca, "✗ server", 69, &["issuer is not trusted", "ca_file"]);
    says(&other("secret/orders", "secret/none"), "✗ secret db", 1, &["no such secret"]);
    says(&other("secret/orders", "secret/orders#user"), "✗ secret db", 1, &["it has \"password\""]);
    says(&other("secret/orders", "secret/orders?kv=1"), "✗ secret db", 1, &["no such secret"]);
    says(&other("secret/orders", "cubbyhole/orders"), "✗ secret db", 1, &["no such secret"]);
    let nobody = format!("{good}    on_change: [signal: {{process: nobody-has-this, signal: SIGHUP}}]\n");
    says(&nobody, "✗ signal", 1, &["no process named", "shareProcessNamespace"]);
    stage.forbid();
    says(&good, "✗ secret db", 77, &["permission denied"]);
    stage.bao.seal();
    says(&good, "✗ server", 69, &["sealed"]);
}

#[test]
fn the_way_to_aws_begins_with_region_and_credentials() {
    let moto = Moto::start();
    moto.put("orders", r#"{"password": "c4n4ry"}"#);
    let configuration = format!(
        "providers:\n  aws: {{kind: aws, region: eu-west-1, endpoint_url: \"{}\"}}\n{}",
        moto.address(),
        "rotations:\n  - {name: orders, target: aws://orders, schedule: {every: 30d}, strategy: {random: {length: 32}}}\n"
    );
    let check = |variables: &[(&str, &str)]| {
        let nobody = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nonexistent")];
        let launch = Launch::new("check").arg("--online").config(&configuration);
        nobody.iter().chain(variables).fold(launch, |launch, (name, value)| launch.env(name, value)).output()
    };
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE1234"), ("AWS_SECRET_ACCESS_KEY", "c4n4ry")];
    let done = check(&keys);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    for line in [
        "✓ region       eu-west-1",
        "✓ credentials  access key …1234; they have no end",
        "✓ target  field password; version ",
    ] {
        assert!(done.stdout.contains(line), "no {line:?}:\n{}", done.stdout);
    }
    assert!(!done.stdout.contains("c4n4ry") && !done.stdout.contains("AKIA"), "{}", done.stdout);
    let done = check(&[]);
    assert_eq!(done.code, Some(77), "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("✗ credentials"), "{}", done.stdout);
    assert!(done.stdout.contains("- target  not tried"), "{}", done.stdout);
}

#[test]
fn what_is_for_one_use_is_not_used_up() {
    let stage = Stage::set();
    stage.bao.enable_approle("approle");
    let (role_id, _) = stage.bao.approle("approle", "orders", &json!({"token_policies": ["orders"]}));
    let wrapped = wrapped_secret_id(&stage.bao);
    let (role_file, token_file) = (stage.pod().join("role-id"), stage.pod().join("wrapped"));
    fs::write(&role_file, role_id).unwrap();
    fs::write(&token_file, &wrapped).unwrap();
    stage.bao.kv_put("secret", "orders", &json!({"password": "c4n4ry"}));
    let auth = format!(
        "{{method: approle, role_id_file: {}, secret_id_file: {}, secret_id_response_wrapping_path: auth/approle/role/orders/secret-id}}",
        role_file.display(),
        token_file.display()
    );
    let configuration = stage.configuration_with(&auth, "    secrets: {db: vault://secret/orders}\n");
    let (code, lines) = check(&configuration, "- ");
    assert_eq!(code, 0, "{lines}");
    assert!(lines.contains("- login") && lines.contains("- secret db"), "{lines}");
    // It still opens what it holds.
    let unwrapped = Launch::agent(&configuration).arg("--once").output();
    assert_eq!(unwrapped.code, Some(0), "{}", unwrapped.stderr);
}

fn wrapped_secret_id(bao: &OpenBao) -> String {
    let url = format!("{}/v1/auth/approle/role/orders/secret-id", bao.plain_address());
    let request = Request::new(Method::POST, &url)
        .with_header("X-Vault-Token", bao.root_token())
        .with_header("X-Vault-Wrap-TTL", "300s");
    let answer = request.send().unwrap().json();
    answer["wrap_info"]["token"].as_str().unwrap().to_owned()
}
