//! Certificates from a real pki engine: key and chain always fit, a valid pair outlives a restart, and each is renewed in time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use keywheel_tests::{Keywheel, Launch, PairReaders, Stage, soak, wait};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(20);
const PAIRS: usize = 6;

#[test]
fn key_and_certificate_fit_through_all_renewals() {
    let renewals = soak::count(25, 100);
    let (stage, names) = (stage(), (0..PAIRS).map(|index| format!("web{index}")).collect::<Vec<_>>());
    let mark = stage.bao.mark();
    let agent = start(&configuration(&stage, &names, "6s", ""));
    let readers = PairReaders::start(&stage.directory(), &names, 4);
    let issued = || stage.bao.count_since(mark, "pki/issue/web");
    wait::until(120 * SECOND, "the renewals", || (issued() >= PAIRS + renewals).then_some(()));
    let tally = readers.finish();
    eprintln!(
        "{} renewals of {PAIRS} pairs, {} pairs read by 4 readers, {} leaves seen, {} overtaken",
        issued() - PAIRS,
        tally.read,
        tally.leaves.len(),
        tally.overtaken
    );
    assert_eq!(tally.faults, [""; 0]);
    assert!(tally.leaves.len() >= PAIRS + renewals / 2, "the readers kept up");
    assert_eq!(agent.logged("cannot replace the value; the last good value stays").len(), 0);
    // Renewed at 60 to 67 parts of 100 of their life, each by a chance of its own.
    let delivered = agent.logged("delivered").len();
    assert!(delivered > renewals / PAIRS + 2, "{delivered} generations: all were renewed at one moment");
}

#[test]
fn a_valid_pair_outlives_a_restart() {
    let stage = stage();
    let names = ["web".to_owned()];
    let state = format!("state_directory: {}\n", stage.volume.path().join("state").display());
    let (config, mark) = (configuration(&stage, &names, "1h", &state), stage.bao.mark());
    let read = || fs::read(stage.directory().join("web/tls.crt")).unwrap();
    let first = start(&config);
    let certificate = read();
    first.process().kill();
    let second = start(&config);
    assert_eq!(read(), certificate);
    assert_eq!(second.terminate(5 * SECOND), Some(0));
    // The login is given back at the end; a certificate has no lease, and goes on.
    let _third = start(&config);
    assert_eq!((read(), stage.bao.count_since(mark, "pki/issue/web")), (certificate, 1));
}

fn stage() -> Stage {
    let stage = Stage::set();
    stage.bao.enable_pki();
    stage.bao.pki_role("web", 3600 * SECOND);
    stage
}

fn start(config: &str) -> Keywheel {
    let agent = Launch::agent(config).start();
    agent.wait_ready(START);
    agent
}

fn configuration(stage: &Stage, names: &[String], ttl: &str, more: &str) -> String {
    let (mut secrets, mut files) = (String::new(), String::new());
    for name in names {
        writeln!(secrets, "      {name}: \"vault://pki/issue/web?common_name={name}.shop.test&ttl={ttl}\"")
            .unwrap();
        let chain = format!("{{{{ {name}.certificate }}}}\\n{{{{ {name}.ca_chain | join('\\n') }}}}\\n");
        writeln!(files, "      - {{path: {name}/tls.crt, value: \"{chain}\"}}").unwrap();
        writeln!(
            files,
            "      - {{path: {name}/tls.key, value: \"{{{{ {name}.private_key }}}}\\n\", mode: \"0400\"}}"
        )
        .unwrap();
    }
    let delivery = format!("    secrets:\n{secrets}    files:\n{files}");
    let config = stage.configuration(&delivery);
    format!("{more}{}", config.replace("kind: vault,", "kind: vault, budget: {mints_per_hour: 36000},"))
}
