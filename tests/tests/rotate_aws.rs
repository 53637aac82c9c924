//! `keywheel rotate` of a secret that AWS rotates itself. moto runs no rotation functions: the proxy answers that one has begun, and the test does
//! what the function would.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use keywheel_tests::databases::Database as _;
use keywheel_tests::rotations::PublishedProbe;
use keywheel_tests::{Cloud, Fault, Faults, Keywheel, Launch, Postgres, kills, soak, wait};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn configuration(cloud: &Cloud) -> String {
    format!(
        "providers:\n  aws: {{kind: aws, {}, rotate_within: 20s, {}}}\nrotations:\n  - name: db\n    target: aws://prod/db\n    \
         record: aws://keywheel/rotation/prod/db\n    schedule: {{every: 30d}}\n    strategy: {{aws: {{}}}}\n",
        cloud.settings(),
        cloud.pod_identity()
    )
}

/// Waits until the rotator has asked for a rotation; returns the new version's id.
fn begun(cloud: &Cloud, rotator: &Keywheel) -> String {
    wait::until(20 * SECOND, "the rotation's request", || {
        rotator.process().assert_running();
        let arrived = cloud.faults.arrived();
        let begin = arrived.iter().find(|seen| seen.operation().as_deref() == Some("RotateSecret"))?;
        let body: Value = serde_json::from_slice(&begin.body).unwrap();
        body["ClientRequestToken"].as_str().map(str::to_owned)
    })
}

/// Does what the function does.
fn play(cloud: &Cloud, old: &str, new: &str) {
    let put = json!({
        "SecretId": "prod/db", "ClientRequestToken": new, "SecretString": r#"{"password": "two"}"#, "VersionStages": ["AWSPENDING"],
    });
    cloud.moto.secrets("PutSecretValue", &put);
    let moved = json!({
        "SecretId": "prod/db", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": old, "MoveToVersionId": new,
    });
    cloud.moto.secrets("UpdateSecretVersionStage", &moved);
}

fn status(configuration: &str) -> Value {
    let status = Launch::new("rotate").args(["status", "--json"]).config(configuration).output();
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status[0].clone()
}

fn stage() -> (Cloud, String) {
    let cloud = Cloud::start();
    let old = cloud.moto.put("prod/db", r#"{"password": "one"}"#);
    let answer = Fault::Answer { status: 200, body: r#"{"ARN": "arn", "Name": "prod/db"}"#.into() };
    cloud.faults.show_to("RotateSecret", answer);
    (cloud, old)
}

#[test]
fn the_source_rotates_and_its_new_version_is_waited_for() {
    let (cloud, old) = stage();
    let configuration = configuration(&cloud);
    let rotator = Launch::new("rotate").config(&configuration).arg("--now").start();
    let new = begun(&cloud, &rotator);
    play(&cloud, &old, &new);
    assert!(rotator.process().wait_for_end(20 * SECOND).success(), "{}", rotator.logs());
    assert!(rotator.logs().contains(&format!("rotated, version {new}")), "{}", rotator.logs());
    let status = status(&configuration);
    assert_eq!((&status["phase"], &status["version"]), (&"idle".into(), &new.into()), "{status}");
    assert_eq!(
        cloud.faults.count_of("GetSecretValue"),
        cloud
            .faults
            .arrived()
            .iter()
            .filter(|seen| {
                seen.operation().as_deref() == Some("GetSecretValue")
                    && String::from_utf8_lossy(&seen.body).contains("keywheel/rotation/")
            })
            .count(),
        "the value is nobody's business"
    );
}

#[test]
fn an_emergency_says_that_the_version_before_may_still_work() {
    let (cloud, old) = stage();
    let emergency = ["db", "--now", "--revoke-old"];
    let rotator = Launch::new("rotate").config(&configuration(&cloud)).args(emergency).start();
    play(&cloud, &old, &begun(&cloud, &rotator));
    assert!(rotator.process().wait_for_end(20 * SECOND).success(), "{}", rotator.logs());
    assert!(rotator.logs().contains("AWSPREVIOUS"), "{}", rotator.logs());
}

#[test]
fn a_killed_rotator_is_followed_by_one_that_asks_for_no_second_version() {
    let (cloud, old) = stage();
    let configuration = configuration(&cloud);
    let rotator = Launch::new("rotate").config(&configuration).arg("--now").start();
    let new = begun(&cloud, &rotator);
    rotator.process().kill();
    play(&cloud, &old, &new);
    let next = Launch::new("rotate").config(&configuration).output();
    assert_eq!(next.code, Some(0), "{}", next.stderr);
    let status = status(&configuration);
    assert_eq!((&status["phase"], &status["version"]), (&"idle".into(), &new.into()), "{status}");
    assert_eq!(cloud.faults.count_of("RotateSecret"), 1);
}

/// Returns the tokens of the rotations that were asked for.
fn asked_for(cloud: &Cloud) -> BTreeSet<String> {
    let arrived = cloud.faults.arrived().into_iter();
    arrived
        .filter(|seen| seen.operation().as_deref() == Some("RotateSecret"))
        .map(|seen| {
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            body["ClientRequestToken"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Does what the function does for each rotation that is asked for, until the proxy before it is gone.
fn play_all(cloud: &Cloud, first: &str, over: &Weak<Faults>) {
    let (mut current, mut played) = (first.to_owned(), BTreeSet::new());
    while over.strong_count() > 0 {
        for token in asked_for(cloud) {
            if played.insert(token.clone()) {
                play(cloud, &current, &token);
                current = token;
            }
        }
        std::thread::sleep(SECOND / 50);
    }
}

/// Returns the version that is current.
fn current(cloud: &Cloud, name: &str) -> Value {
    // What moto answers when it is not told which is not always this one.
    let current = json!({"SecretId": name, "VersionStage": "AWSCURRENT"});
    cloud.moto.secrets("GetSecretValue", &current)
}

/// Counts the requests of one rotation.
fn requests_of(faults: &Faults, configuration: &str) -> usize {
    let before = faults.count();
    let done = Launch::new("rotate").config(configuration).arg("--now").output();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    faults.count() - before
}

#[test]
fn a_rotator_killed_at_any_request_has_the_source_rotate_once() {
    let (cloud, first) = stage();
    // What rotates is asked by way of both; one of them answers for the function.
    let faults = Arc::new(Faults::before(&cloud.faults.address()));
    let plain = configuration(&cloud);
    let by_proxy = plain.replace(&cloud.faults.address(), &faults.address());
    let over = Arc::downgrade(&faults);
    std::thread::scope(|scope| {
        scope.spawn(|| play_all(&cloud, &first, &over));
        // Dropped also when the test fails: the function is not waited for then.
        let faults = faults;
        let requests = requests_of(&faults, &by_proxy);
        let (mut versions, stride) = (asked_for(&cloud).len(), soak::count(6, 1));
        assert!(versions == 1 && requests > 4, "{requests}");
        let kills = kills::at_requests(&faults, &by_proxy, (0..requests).step_by(stride), |what| {
            let next = Launch::new("rotate").config(&plain).output();
            assert_eq!(next.code, Some(0), "{what}: {}", next.stderr);
            let (asked, said) = (asked_for(&cloud), status(&plain));
            assert_eq!(said["phase"], "idle", "{what}: {said}");
            assert!(asked.len() <= versions + 1, "{what}: {asked:?}");
            versions = asked.len();
            let current = current(&cloud, "prod/db");
            assert_eq!(current["VersionId"], said["version"], "{what}: {current}");
        });
        eprintln!("{requests} requests, every {stride}.: {kills} kills, {versions} versions");
        assert!(versions > 1, "no rotator that was killed had asked for a version");
    });
}

/// Returns user and password of what is published.
fn account(cloud: &Cloud) -> (String, String) {
    let current = current(cloud, "prod/orders");
    let account: Value = serde_json::from_str(current["SecretString"].as_str().unwrap()).unwrap();
    let text = |name: &str| account[name].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}

/// Has the next run end what was begun, and sees that nothing is left of it.
fn finish(cloud: &Cloud, postgres: &Postgres, plain: &str, what: &str) {
    let next = Launch::new("rotate").config(plain).output();
    assert_eq!(next.code, Some(0), "{what}: {}", next.stderr);
    assert_eq!(status(plain)["phase"], "idle", "{what}");
    let (user, password) = account(cloud);
    assert_eq!(postgres.login(&user, &password, 10 * SECOND), Ok(()), "{what}");
    assert_eq!(postgres.open_accounts(), [user], "{what}: something was left behind");
    let record = current(cloud, "keywheel/rotation/prod/orders");
    let record: Value = serde_json::from_str(record["SecretString"].as_str().unwrap()).unwrap();
    let fields: Vec<&String> = record.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["record"], "{what}: the record keeps values");
    let secret = cloud.moto.secrets("DescribeSecret", &json!({"SecretId": "prod/orders"}));
    for stages in secret["VersionIdsToStages"].as_object().unwrap().values() {
        let has = |stage: &str| stages.as_array().unwrap().contains(&stage.into());
        assert!(!has("AWSPENDING") || has("AWSCURRENT"), "{what}: a version is pending: {secret}");
    }
}

#[test]
fn a_rotator_killed_at_any_request_to_the_store_publishes_what_works() {
    let (cloud, postgres) = (Arc::new(Cloud::start()), Arc::new(Postgres::set()));
    cloud.moto.put("prod/admin", r#"{"username": "rotator", "password": "rotator"}"#);
    cloud.moto.put("prod/orders", r#"{"username": "orders_a", "password": "first", "port": 5432}"#);
    let strategy = Postgres::strategy(&postgres.address());
    let by_proxy = format!(
        "providers:\n  aws: {{kind: aws, {}, {}}}\nrotations:\n  - name: orders\n    target: aws://prod/orders\n    \
         schedule: {{every: 30d}}\n    overlap: 100ms\n    strategy:{}\n",
        cloud.settings(),
        cloud.pod_identity(),
        strategy.replace("vault://secret/platform/db-admin", "aws://prod/admin")
    );
    let plain = by_proxy.replace(&cloud.faults.address(), &cloud.moto.address());
    let (requests, stride) = (requests_of(&cloud.faults, &by_proxy), soak::count(9, 1));
    let for_probe = Arc::clone(&cloud);
    let probe = PublishedProbe::start(move || Some(account(&for_probe)), Arc::clone(&postgres));
    let kills = kills::at_requests(&cloud.faults, &by_proxy, (0..requests).step_by(stride), |what| {
        finish(&cloud, &postgres, &plain, what);
    });
    let seen = probe.finish();
    eprintln!(
        "{requests} requests, every {stride}.: {kills} kills, {} logins, {} failed",
        seen.logins,
        seen.failed.len()
    );
    assert_eq!(seen.failed, Vec::<String>::new());
}
