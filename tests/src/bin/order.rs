//! `order PROGRAM`: prints the functions that `keywheel agent` calls, by the names of the linker: first those of an agent at rest, then those of its start, then
//! those of a change and of its end, each by name. PROGRAM has its symbols; valgrind counts the calls.

#![allow(clippy::print_stdout, reason = "the list is its output")]
#![allow(clippy::expect_used, reason = "whoever sets the stage wants to know what is missing")]

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::{Accounts, OpenBao, Process, Signal, wait};
use serde_json::json;

fn main() {
    let program = std::env::args_os().nth(1).expect("usage: order PROGRAM");
    let accounts = Accounts::set(Duration::from_secs(20), Duration::from_secs(3600));
    let (stage, bao) = (&accounts.stage, &accounts.stage.bao);
    bao.policy("orders", POLICY);
    FOLDERS.iter().for_each(|folder| (0..SECRETS).for_each(|index| put(bao, folder, index, 1)));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (config, calls) = (folder.path().join("keywheel.yaml"), folder.path().join("calls"));
    fs::write(&config, stage.configuration(&delivery())).expect("the configuration");

    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--demangle=no", "--quiet"]);
    valgrind.arg(format!("--callgrind-out-file={}", calls.display()));
    // The sandbox allows what the program needs, and not what valgrind does.
    valgrind.arg(program).args(["agent", "--sandbox", "off", "--config"]).arg(&config);
    let agent = Process::start("agent", valgrind, folder.path());
    let dump = || {
        let mut dump = Command::new("callgrind_control");
        let done = dump.args(["--dump", &agent.pid().to_string()]).output().expect("callgrind_control");
        assert!(done.status.success(), "{done:?}");
    };
    let file = |name: &str| fs::read(stage.directory().join(name)).ok();
    let asked = |path: &str, times: usize| {
        let mark = bao.mark();
        wait::until(BOUND, path, || {
            agent.assert_running();
            (bao.count_since(mark, path) >= times).then_some(())
        });
    };

    wait::until(BOUND, "the delivery", || file("user"));
    asked("secret/detailed-metadata/listed", 2);
    asked("secret/metadata/single", 2);
    dump();
    asked("sys/leases/renew", 2);
    dump();
    FOLDERS.iter().for_each(|folder| put(bao, folder, 0, 2));
    wait::until(BOUND, "the changes", || {
        FOLDERS.iter().all(|folder| file(&format!("{folder}0")).as_deref() == Some(b"value 2")).then_some(())
    });
    agent.end_by(Signal::TERM, BOUND);

    let mut seen = BTreeSet::new();
    for dumped in ["calls.2", "calls.1", "calls"] {
        let mut called = functions(&folder.path().join(dumped));
        called.retain(|function| !seen.contains(function));
        called.iter().for_each(|function| println!("{function}"));
        seen.append(&mut called);
    }
}

fn put(bao: &OpenBao, folder: &str, index: usize, version: usize) {
    bao.kv_put("secret", &format!("{folder}/{index}"), &json!({"value": format!("value {version}")}));
}

/// As many secrets of each folder as are asked about together, and an account of a database.
fn delivery() -> String {
    let mut secrets = "    secrets:\n      account: vault://database/creds/app\n".to_owned();
    let mut files = "    files:\n      - {path: user, value: \"{{ account.username }}\"}\n".to_owned();
    for (folder, index) in FOLDERS.iter().flat_map(|folder| (0..SECRETS).map(move |index| (folder, index))) {
        writeln!(secrets, "      {folder}{index}: {{ref: vault://secret/{folder}/{index}, refresh: 3s}}")
            .expect("room");
        writeln!(files, "      - {{path: {folder}{index}, value: \"{{{{ {folder}{index}.value }}}}\"}}")
            .expect("room");
    }
    secrets + &files
}

/// Reads the functions that were called out of a file of callgrind's, in which a name stands where it is used first.
fn functions(calls: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(calls).expect("what callgrind wrote");
    let (mut names, mut called) = (HashMap::new(), BTreeSet::new());
    for line in text.lines() {
        let (is_called, Some(function)) =
            (line.starts_with("fn="), line.strip_prefix("c").unwrap_or(line).strip_prefix("fn=("))
        else {
            continue;
        };
        let Some((number, name)) = function.split_once(')') else { continue };
        if let Some(name) = name.strip_prefix(' ') {
            // Where it calls itself, its depth follows.
            names.insert(number, name.split('\'').next().unwrap_or(name));
        }
        if is_called {
            called.extend(names.get(number).map(|name| (*name).to_owned()));
        }
    }
    called
}

/// The versions of one folder may be listed.
const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read"] }
path "secret/detailed-metadata/listed/*" { capabilities = ["list"] }
path "database/creds/*" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;
const FOLDERS: [&str; 2] = ["listed", "single"];
/// Of each folder: enough for rooms and buffers to grow as they do with many.
const SECRETS: usize = 120;
const BOUND: Duration = Duration::from_secs(300);
