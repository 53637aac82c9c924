//! Hosts are found by name in `/etc/hosts` and by the name servers of `/etc/resolv.conf`, without the C library.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "whoever reads the test's output has to know what was not looked at")]

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Output};
use std::time::Duration;

use keywheel_tests::{OpenBao, Process, built, wait};
use serde_json::json;
use tempfile::TempDir;

const NAME: &str = "bao.keywheel.test";
const BOUND: Duration = Duration::from_secs(20);

/// A server, and files that take the place of this machine's for one process.
struct Stage {
    server: OpenBao,
    folder: TempDir,
}

impl Stage {
    /// Sets it, unless mounts cannot be made here.
    fn set(hosts: &str, servers: &str) -> Option<Self> {
        let allowed = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("true").output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            skip("a mount namespace cannot be made here");
            return None;
        }
        let stage = Self { server: OpenBao::start(), folder: tempfile::tempdir().unwrap() };
        stage.server.kv_put("secret", "db", &json!({"password": "found"}));
        fs::write(stage.folder.path().join("hosts"), hosts).unwrap();
        fs::write(stage.folder.path().join("resolv.conf"), servers).unwrap();
        Some(stage)
    }

    /// Reads the secret from the server of that name.
    fn get(&self, name: &str) -> Output {
        let script =
            "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
        let mut command = Command::new(UNSHARE[0]);
        command.args(&UNSHARE[1..]).args(["sh", "-ec", script, "sh"]).arg(built::program("keywheel"));
        command.args(["get", "vault://secret/db#password"]).current_dir(self.folder.path());
        command.env("VAULT_ADDR", self.server.plain_address().replace("127.0.0.1", name));
        command.env("VAULT_TOKEN", self.server.root_token()).output().unwrap()
    }

    fn finds(&self, name: &str) {
        let output = self.get(name);
        assert_eq!(output.stdout, b"found", "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_host_of_the_hosts_file_needs_no_name_server() {
    let Some(stage) = Stage::set(&format!("127.0.0.1 other {NAME} # here\n"), "") else { return };
    stage.finds(NAME);
    stage.finds("localhost");
    let output = stage.get("nowhere.keywheel.test");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("the host's name was not found"), "{said}");
}

#[test]
fn other_hosts_are_asked_for_at_the_name_server() {
    // The port of name servers is fixed; the addresses of this host are many.
    let address = format!("127.0.{}.{}", fastrand::u8(1..=254), fastrand::u8(1..=254));
    if UdpSocket::bind((address.as_str(), 53)).is_err() {
        return skip("this user may not listen as a name server");
    }
    let Some(stage) = Stage::set("", &format!("search keywheel.test\nnameserver {address}\n")) else {
        return;
    };
    let mut dnsmasq = Command::new("/usr/sbin/dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        "--bind-interfaces",
    ]);
    dnsmasq.args(["--no-resolv", "--no-hosts", "--log-facility=-", &format!("--listen-address={address}")]);
    dnsmasq.arg(format!("--address=/{NAME}/127.0.0.1"));
    let dnsmasq = Process::start("dnsmasq", dnsmasq, stage.folder.path());
    wait::until(BOUND, "the name server", || {
        dnsmasq.assert_running();
        (UdpSocket::bind((address.as_str(), 53)).is_err()).then_some(())
    });
    stage.finds(NAME);
    stage.finds("bao");
    let output = stage.get("nowhere.keywheel.test");
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
}

fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

const UNSHARE: [&str; 3] = ["unshare", "--mount", "--map-root-user"];
