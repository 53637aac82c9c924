//! A value written to KV v2 is on the volume, and the application has been told, within `refresh` and a second; no
//! reader ever sees anything but whole generations.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use keywheel_tests::{Keywheel, Launch, Readers, Snapshot, Stage, Witness, generation, wait};
use serde_json::{Value, json};

#[test]
fn a_change_arrives_and_is_told_within_refresh_and_a_second() {
    const REFRESH: Duration = Duration::from_secs(2);
    let (stage, witness) = (Stage::set(), Witness::start());
    let mut pace = Pace::default();
    put(&stage, "db", 1);
    let agent = start(&stage, &witness, "2s");
    witness.wait_for_more_than(0, START);
    for generation in 2..6 {
        let seen = witness.signals().len();
        let written_at = wait::monotonic();
        put(&stage, "db", generation);
        let signals = witness.wait_for_more_than(seen, LONG);
        assert_eq!(at(&stage.directory().join("db-password")), generation);
        pace.note(signals[seen] - written_at);
    }
    // A write that follows an arrival waits for a whole interval: the longest wait that there is.
    pace.assert_within(REFRESH + SECOND, "refresh 2s");
    assert_eq!(witness.signals().len(), agent.logged("delivered").len());
}

#[test]
fn a_hundred_changes_under_readers_are_whole_and_told_once_each() {
    const REFRESH: Duration = Duration::from_millis(200);
    let (stage, witness) = (Stage::set(), Witness::start());
    put(&stage, "db", 1);
    put(&stage, "api", 1);
    let agent = start(&stage, &witness, "200ms");
    witness.wait_for_more_than(0, START);

    let db = Readers::start(&stage.directory(), &DB_FILES, 4);
    let api = Readers::start(&stage.directory(), &API_FILES, 2);
    let mut pace = Pace::default();
    let mut change = |secret: &str, file: &str, generation: u64| {
        let seen = witness.signals().len();
        let written_at = wait::monotonic();
        put(&stage, secret, generation);
        let signals = witness.wait_for_more_than(seen, LONG);
        assert_eq!(at(&stage.directory().join(file)), generation, "told before it was visible");
        pace.note(signals[seen] - written_at);
    };
    for generation in 2..=101 {
        change("db", "db-password", generation);
        if generation % 10 == 0 {
            change("api", "api/key", generation);
        }
    }
    for (readers, all) in [(db, 101), (api, 11)] {
        let tally = readers.finish();
        assert_eq!(tally.faults, [""; 0]);
        assert!(
            tally.generations.len() > all * 9 / 10,
            "readers that miss most changes prove little: {tally:?}"
        );
        eprintln!(
            "{} passes, {} generations seen, {} overtaken",
            tally.passes,
            tally.generations.len(),
            tally.overtaken
        );
    }
    assert_eq!(
        agent.logged("cannot read the secret; the last good value stays"),
        [Value::Null; 0],
        "a calm server"
    );
    pace.assert_within(REFRESH + SECOND, "refresh 200ms");
    // One for the first generation, one for each change, and nothing beside.
    assert_eq!(witness.signals().len(), 1 + 100 + 10);
    assert_eq!(agent.logged("delivered").len(), 1 + 100 + 10);
}

#[test]
fn a_writer_that_waits_for_nobody_tears_nothing() {
    let (stage, witness) = (Stage::set(), Witness::start());
    put(&stage, "db", 1);
    put(&stage, "api", 1);
    let agent = start(&stage, &witness, "100ms");
    agent.wait_ready(START);

    let readers = Readers::start(&stage.directory(), &DB_FILES, 4);
    for generation in 2..=200 {
        put(&stage, "db", generation);
    }
    wait::until(SECOND * 2, "the last value", || {
        (at(&stage.directory().join("db-password")) == 200).then_some(())
    });
    let tally = readers.finish();
    assert_eq!(tally.faults, [""; 0]);
    assert!(tally.generations.len() > 5, "{tally:?}");
    eprintln!("{} passes, {} of 200 generations seen", tally.passes, tally.generations.len());
}

#[test]
fn the_same_value_written_again_touches_nothing_and_tells_nobody() {
    let (stage, witness) = (Stage::set(), Witness::start());
    put(&stage, "db", 1);
    put(&stage, "api", 1);
    let agent = start(&stage, &witness, "200ms");
    agent.wait_ready(START);
    let signals = witness.wait_for_more_than(0, START).len();
    let before = Snapshot::of(&stage.directory());
    let generation = agent.status()["deliveries"][0]["generation"].clone();

    put(&stage, "db", 1);
    wait::until(SECOND * 2, "the new version to be noticed", || {
        (secret(&agent.status(), "db")["version"] == "2").then_some(())
    });
    // Two further rounds of requests: what was going to happen has happened.
    let noticed_at = confirmed_at(&agent);
    wait::until(SECOND * 3, "further requests", || (confirmed_at(&agent) > noticed_at).then_some(()));
    let noticed_at = confirmed_at(&agent);
    wait::until(SECOND * 3, "further requests", || (confirmed_at(&agent) > noticed_at).then_some(()));
    assert_eq!(Snapshot::of(&stage.directory()), before);
    assert_eq!(witness.signals().len(), signals);
    assert_eq!(agent.status()["deliveries"][0]["generation"], generation);

    put(&stage, "db", 2);
    witness.wait_for_more_than(signals, SECOND * 2);
    assert_eq!(at(&stage.directory().join("db-password")), 2);
}

#[test]
fn an_interval_costs_one_request_for_metadata_and_a_change_one_for_the_value() {
    let stage = Stage::set();
    put(&stage, "db", 1);
    let config =
        stage.configuration("    secrets:\n      db: {ref: \"vault://secret/orders/db\", refresh: 500ms}");
    let agent = Launch::agent(&config).start();
    agent.wait_ready(START);

    let (mark, begun) = (stage.bao.mark(), wait::monotonic());
    let asked = || stage.bao.count_since(mark, "secret/metadata/orders/db");
    wait::until(SECOND * 20, "ten intervals", || (asked() >= 10).then_some(()));
    let took = wait::monotonic() - begun;
    // 80 to 100 % of `refresh` each; the first may have been about to come, and the last is seen a little late.
    assert!(
        took > Duration::from_millis(9 * 400) && took < Duration::from_millis(10 * 500 + 700),
        "{took:?}"
    );
    assert_eq!(stage.bao.count_since(mark, "secret/data/"), 0);
    let total = stage.bao.requests_since(mark).len();
    assert!((10..=11).contains(&total), "{total} requests in ten intervals");
    eprintln!("{total} requests in {took:?}, all for metadata");

    put(&stage, "db", 2);
    wait::until(SECOND * 2, "the new value", || {
        (at(&stage.directory().join("db/password")) == 2).then_some(())
    });
    let after = asked();
    wait::until(SECOND * 5, "two further intervals", || (asked() >= after + 2).then_some(()));
    assert_eq!(stage.bao.count_since(mark, "secret/data/"), 1);
    assert_eq!(stage.bao.count_since(mark, "auth/"), 0);
}

/// Files of several sizes and modes, of one secret.
const DB_FILES: [(&str, u32); 4] =
    [("db-username", 0o440), ("db-password", 0o400), ("conf/large", 0o644), ("conf/copy", 0o440)];
const API_FILES: [(&str, u32); 2] = [("api/key", 0o440), ("api/other", 0o600)];

fn start(stage: &Stage, witness: &Witness, refresh: &str) -> Keywheel {
    let api = stage.bao.read("secret/data/orders/api").is_some();
    let mut delivery =
        format!("    secrets:\n      db: {{ref: \"vault://secret/orders/db\", refresh: {refresh}}}\n");
    if api {
        delivery += &format!("      api: {{ref: \"vault://secret/orders/api\", refresh: {refresh}}}\n");
    }
    delivery += r#"
    files:
      - {path: db-username, value: "{{ db.username }}", mode: "0440"}
      - {path: db-password, value: "{{ db.password }}", mode: "0400"}
      - {path: conf/large, value: "{{ db.large }}", mode: "0644"}
      - {path: conf/copy, value: "{{ db.password }}", mode: "0440"}
"#;
    if api {
        delivery += r#"
      - {path: api/key, value: "{{ api.password }}", mode: "0440"}
      - {path: api/other, value: "{{ api.username }}", mode: "0600"}
"#;
    }
    delivery += &format!("    on_change:\n      - signal: {{process: {}, signal: SIGHUP}}\n", witness.name());
    Launch::agent(&stage.configuration(&delivery)).start()
}

fn put(stage: &Stage, secret: &str, generation: u64) {
    let fields = json!({
        "username": generation::value(generation, 64),
        "password": generation::value(generation, 4000),
        "large": generation::value(generation, 100_000),
    });
    stage.bao.kv_put("secret", &format!("orders/{secret}"), &fields);
}

fn at(path: &Path) -> u64 {
    generation::read(&fs::read(path).unwrap()).unwrap()
}

fn secret<'a>(status: &'a Value, name: &str) -> &'a Value {
    let secrets = status["deliveries"][0]["secrets"].as_array();
    secrets.and_then(|secrets| secrets.iter().find(|secret| secret["name"] == name)).unwrap_or(&Value::Null)
}

fn confirmed_at(agent: &Keywheel) -> String {
    secret(&agent.status(), "db")["confirmed_at"].as_str().unwrap_or_default().to_owned()
}

#[derive(Default)]
struct Pace(Vec<Duration>);

impl Pace {
    fn note(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    fn assert_within(&mut self, bound: Duration, what: &str) {
        self.0.sort();
        let (median, max) = (self.0[self.0.len() / 2], self.0[self.0.len() - 1]);
        eprintln!("{what}: {} changes, write to signal median {median:?}, max {max:?}", self.0.len());
        assert!(max < bound, "{max:?}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Long enough to tell a late change, which is then measured, from one that never comes.
const LONG: Duration = Duration::from_secs(20);
/// For the first generation: a build without optimisation, on a machine that does other things too.
const START: Duration = Duration::from_secs(15);
