//! The program that `cargo xtask dist` makes needs nothing of its host: it works in a root folder that holds nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "whoever reads the test's output has to know what was not looked at")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::{OpenBao, Process, Signal, Tmpfs, wait};
use serde_json::json;

const BOUND: Duration = Duration::from_secs(20);

/// Logs in by name and delivers, with no library, no shell, no device but `/dev/null`, and of `/etc` the hosts alone.
#[test]
fn a_program_alone_in_its_root_logs_in_and_delivers() {
    let Some(program) = std::env::var_os("KEYWHEEL_STATIC") else {
        return skip("KEYWHEEL_STATIC names no program; `cargo xtask soak` makes one");
    };
    if !Command::new("unshare").args(ALONE).arg("true").output().is_ok_and(|output| output.status.success()) {
        return skip("a mount namespace cannot be made here");
    }
    let server = OpenBao::start();
    server.kv_put("secret", "db", &json!({"password": "from-the-server"}));
    server.policy("orders", r#"path "secret/*" { capabilities = ["read"] }"#);
    server.enable_approle("approle");
    let (role_id, secret_id) = server.approle("approle", "orders", &json!({"token_policies": ["orders"]}));

    let (root, volume) = (tempfile::tempdir().unwrap(), Tmpfs::mount(1 << 20));
    let in_root = |name: &str| root.path().join(name);
    for folder in ["dev", "etc", "run"] {
        fs::create_dir(in_root(folder)).unwrap();
    }
    fs::copy(program, in_root("keywheel")).unwrap();
    fs::write(in_root("dev/null"), "").unwrap();
    fs::write(in_root("etc/hosts"), "127.0.0.1 bao.keywheel.test\n").unwrap();
    fs::copy(server.ca_file(), in_root("ca.pem")).unwrap();
    fs::write(in_root("role"), role_id).unwrap();
    fs::write(in_root("secret"), secret_id).unwrap();
    fs::write(in_root("file.json"), r#"{"token": "from-a-file"}"#).unwrap();
    let address = server.address().replace("127.0.0.1", "bao.keywheel.test");
    let configuration = format!(
        "providers:\n  bao: {{kind: vault, address: \"{address}\", server_name: localhost, ca_file: /ca.pem,\n    \
         auth: {{method: approle, role_id_file: /role, secret_id_file: /secret}}}}\n  \
         local: {{kind: file}}\n\
         deliveries:\n- {{name: o, directory: /run/o, secrets: {{db: \"bao://secret/db\", file: \"local:///file.json\"}}}}\n"
    );
    fs::write(in_root("keywheel.yaml"), configuration).unwrap();

    let mut command = Command::new("unshare");
    let script = "mount --bind /dev/null dev/null && mount --bind \"$1\" run && exec chroot . /keywheel agent --config /keywheel.yaml";
    command.args(ALONE).args(["sh", "-ec", script, "sh"]).arg(volume.path());
    command.current_dir(root.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let logs = tempfile::tempdir().unwrap();
    let agent = Process::start("keywheel", command, logs.path());
    let content = |name: &str| {
        agent.assert_running();
        fs::read_to_string(volume.path().join("o").join(name)).ok()
    };
    assert_eq!(wait::until(BOUND, "the server's secret", || content("db/password")), "from-the-server");
    assert_eq!(wait::until(BOUND, "the file's secret", || content("file/token")), "from-a-file");

    server.kv_put("secret", "db", &json!({"password": "changed"}));
    wait::until(Duration::from_secs(40), "the change", || {
        (content("db/password")? == "changed").then_some(())
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_end(BOUND).code(), Some(0), "{}", agent.stderr());
}

fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

const ALONE: [&str; 2] = ["--mount", "--map-root-user"];
