//! The credential on disk is valid at every moment: leases are renewed, replaced before they end, and followed where the server changes a
//! password by itself. A probe logs in to a real PostgreSQL all the time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::time::Duration;

use keywheel_tests::{Accounts, soak, wait};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_dynamic_credential_never_lapses() {
    let span = soak::span(65 * SECOND, 300 * SECOND);
    let accounts = Accounts::set(6 * SECOND, 20 * SECOND);
    let mark = accounts.stage.bao.mark();
    let agent = accounts.start(&accounts.configuration("creds/app", "30s", ""));
    let probe = accounts.probe();
    wait::throughout(span, "the agent to be ready", || agent.admin("/readyz").unwrap().status == 200);
    let seen = probe.finish();
    let minted = accounts.stage.bao.count_since(mark, "database/creds/app");
    let renewed = accounts.stage.bao.count_since(mark, "sys/leases/renew");
    let all = accounts.stage.bao.requests_since(mark).len();
    eprintln!(
        "{span:?}: {} probes, {minted} credentials, {renewed} renewals, {all} requests in all",
        seen.probes
    );

    assert_eq!((seen.failed, seen.overtaken), (0, 0), "{:?}", seen.windows);
    // The longest life forces a new one every 20 s; and one is there at the beginning.
    let forced = span.as_secs().div_ceil(20);
    assert!(minted as u64 <= forced + 1, "{minted} credentials, and {forced} were forced");
    assert_eq!(seen.users.len(), minted);
    assert_eq!(agent.logged("cannot replace the value; the last good value stays").len(), 0);
}

#[test]
fn a_static_credential_is_followed_as_it_turns() {
    let span = soak::span(40 * SECOND, 120 * SECOND);
    let accounts = Accounts::set(SECOND, SECOND);
    accounts.stage.bao.static_role(&accounts.postgres, "legacy", "legacy", 5 * SECOND);
    let mark = accounts.stage.bao.mark();
    let _agent = accounts.start(&accounts.configuration("static-creds/legacy", "30s", ""));
    let probe = accounts.probe();
    wait::throughout(span, "the account to be there", || accounts.file().exists());
    let seen = probe.finish();
    let reads = accounts.stage.bao.count_since(mark, "database/static-creds");
    eprintln!(
        "{span:?}: {} probes of which {} failed and {} were overtaken, longest gap {:?}, {reads} reads",
        seen.probes,
        seen.failed,
        seen.overtaken,
        seen.longest_gap()
    );
    assert!(seen.longest_gap() < SECOND / 2, "{seen:?}");
    assert!(seen.failed <= seen.probes / 50, "{seen:?}");
    assert!(reads as u64 <= 25 * span.as_secs(), "{reads} reads");
}

#[test]
fn a_login_that_ends_takes_no_credential_with_it() {
    // Logins end after twelve seconds whatever is done, and their leases with them.
    let accounts = Accounts::with_logins(
        &json!({"token_ttl": "12s", "token_max_ttl": "12s"}),
        60 * SECOND,
        600 * SECOND,
    );
    let mark = accounts.stage.bao.mark();
    let agent = accounts.start(&accounts.configuration("creds/app", "30s", "    overlap: 2s\n"));
    let probe = accounts.probe();
    wait::throughout(soak::span(45 * SECOND, 120 * SECOND), "the agent to be ready", || {
        agent.admin("/readyz").unwrap().status == 200
    });
    let seen = probe.finish();
    let count = |prefix| accounts.stage.bao.count_since(mark, prefix);
    let (minted, logins) = (count("database/creds/app"), count("auth/jwt/login"));
    eprintln!("{} probes, {logins} logins, {minted} credentials", seen.probes);
    assert_eq!((seen.failed, seen.overtaken), (0, 0), "{:?}", seen.windows);
    assert!(minted >= 3 && minted <= logins, "{minted} credentials, {logins} logins");
    wait::until(15 * SECOND, "the old credentials to be given back", || {
        (accounts.made().len() <= 2).then_some(())
    });
}

#[test]
fn the_manifest_and_the_status_say_when_a_lease_ends() {
    let accounts = Accounts::set(600 * SECOND, 3600 * SECOND);
    let agent = accounts.start(&accounts.configuration("creds/app", "30s", ""));
    let manifest = std::fs::read(accounts.stage.directory().join("..data/..manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let secret = &manifest["files"]["account"]["secrets"][0];
    let status = agent.status();
    let seen = &status["deliveries"][0]["secrets"][0];
    assert!(secret["lease_deadline"].is_string(), "{secret}");
    assert_eq!(secret["lease_deadline"], seen["lease_deadline"]);
    let lease = &accounts.stage.bao.leases("database/creds/app")[0];
    let time = |text: &serde_json::Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (ends, truth) =
        (time(&seen["lease_deadline"]), time(&accounts.stage.bao.lease(lease).unwrap()["expire_time"]));
    let early = truth.duration_since(ends).as_secs_f64();
    assert!((0.0..2.0).contains(&early), "it ends at {ends}, in truth at {truth}");
    let metrics = agent.admin("/metrics").unwrap().text();
    assert!(
        metrics.contains("keywheel_lease_deadline_timestamp_seconds{delivery=\"orders\",secret=\"account\"}")
    );
}
