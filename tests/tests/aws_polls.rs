//! Five hundred secrets with one interval cost 25 calls an interval, and a put is on the volume within it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use keywheel_tests::faults::Arrived;
use keywheel_tests::{Cloud, Launch, Tmpfs, wait};
use serde_json::Value;

const SECRETS: usize = 500;
const SECOND: Duration = Duration::from_secs(1);
const REFRESH: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(10);

#[test]
fn five_hundred_secrets_cost_25_calls_an_interval() {
    let (cloud, volume) = (Cloud::start(), Tmpfs::mount(64 << 20));
    let mut configuration = format!(
        "providers:\n  aws: {{kind: aws, {}, {}}}\ndeliveries:\n  - name: orders\n    directory: {}\n    secrets:\n",
        cloud.settings(),
        cloud.pod_identity(),
        volume.path().join("orders").display(),
    );
    for number in 0..SECRETS {
        cloud.moto.put(&format!("shop/s{number}"), &number.to_string());
        writeln!(configuration, "      s{number}: {{ref: \"aws://shop/s{number}\", refresh: 2s}}").unwrap();
    }
    let agent = Launch::agent(&configuration).start();
    agent.wait_ready(30 * SECOND);
    let first = calls_for_first_values(&cloud);
    assert!((25..=30).contains(&first), "{first} calls for the first values");

    let (begun, cpu) = (wait::monotonic(), agent.process().cpu_time());
    wait::throughout(WATCHED, "the agent to run", || agent.process().ended().is_none());
    let calls: Vec<Duration> =
        cloud.faults.arrived().iter().map(|call| call.at).filter(|at| *at >= begun).collect();
    let mut bursts: Vec<usize> = Vec::new();
    let mut last = Duration::ZERO;
    for at in calls {
        if at.saturating_sub(last) > SECOND {
            bursts.push(0);
        }
        *bursts.last_mut().unwrap() += 1;
        last = at;
    }
    eprintln!("calls an interval: {bursts:?}; {:?} of CPU in {WATCHED:?}", agent.process().cpu_time() - cpu);
    // The first and the last may be cut off.
    assert!(bursts.len() >= 4 && bursts[1..bursts.len() - 1].iter().all(|calls| *calls == 25), "{bursts:?}");
    assert_eq!(cloud.faults.count_of("GetSecretValue"), 0);

    for number in [7, 250, 499] {
        let begun = wait::monotonic();
        cloud.moto.put(&format!("shop/s{number}"), "new");
        let file = volume.path().join(format!("orders/s{number}/value"));
        wait::until(REFRESH + SECOND, "the put to be on the volume", || {
            (fs::read(&file).unwrap() == b"new").then_some(())
        });
        eprintln!("a put was on the volume after {:?}", wait::monotonic() - begun);
    }
}

/// Counts the calls that asked for a secret which none before them had asked for: the interval may bring others at the same time.
fn calls_for_first_values(cloud: &Cloud) -> usize {
    let mut known = BTreeSet::new();
    let brings_a_new_one = |call: &&Arrived| {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let ids: Vec<String> = serde_json::from_value(body["SecretIdList"].clone()).unwrap();
        let before = known.len();
        known.extend(ids);
        known.len() > before
    };
    let arrived = cloud.faults.arrived();
    let calls = arrived.iter().filter(|call| call.operation().as_deref() == Some("BatchGetSecretValue"));
    let count = calls.filter(brings_a_new_one).count();
    assert_eq!(known.len(), SECRETS);
    count
}
