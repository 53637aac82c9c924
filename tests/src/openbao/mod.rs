//! Runs a real OpenBao server: TLS, raft storage in memory, an audit log, one unseal key.
//!
//! A new server has KV v2 at `secret/` and KV v1 at `kv1/`. It also listens without TLS, for the test's own requests
//! and for a proxy that shows faults.

mod admin;
mod audit;
mod database;
mod login;
mod pki;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

pub use admin::Token;
pub use audit::{Mark, Seen};

use crate::certificates::Authority;
use crate::process::{Process, Signal};
use crate::{built, http, ports, wait};

/// A running server; killed and removed when dropped.
#[derive(Debug)]
pub struct OpenBao {
    folder: TempDir,
    ports: Ports,
    authority: Authority,
    process: Process,
    unseal_key: String,
    root_token: String,
    admin: Token,
}

/// What a server is started with.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Lines that are added to the server's configuration (HCL).
    pub configuration: String,
}

impl OpenBao {
    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it does not within 30 s, or when `cargo xtask test` has not brought it yet.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts a server with `options`; see [`OpenBao::start`].
    pub fn start_with(options: &Options) -> Self {
        let folder = folder();
        let authority = Authority::generate();
        authority.issue_server(folder.path());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("the authority's file");
        std::fs::create_dir(folder.path().join("raft")).expect("a storage folder");
        let (ports, process) = listen(folder.path(), options);

        let plain = plain_address(&ports);
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let init = admin::send_as("", http::Method::PUT, &format!("{plain}/v1/sys/init"), Some(&shares));
        let text = |at: &str| {
            init.pointer(at).and_then(|value| value.as_str()).expect("an answer to init").to_owned()
        };
        let root_token = text("/root_token");
        let root = Token { token: root_token.clone(), accessor: String::new() };
        let mut server = Self {
            folder,
            ports,
            authority,
            process,
            unseal_key: text("/keys_base64/0"),
            root_token,
            admin: root,
        };
        server.unseal();
        // A token of its own lets the audit log tell the test's requests from those of the program under test.
        server.admin = server.token(&json!({"policies": ["root"], "no_parent": true}));
        server.mount_kv();
        server
    }

    /// Returns the address with TLS, as in `VAULT_ADDR`.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.tls)
    }

    /// Returns the address without TLS, for a proxy in between.
    pub fn plain_address(&self) -> String {
        plain_address(&self.ports)
    }

    /// Returns the file that holds the authority's certificate, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the authority that issued the server's certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns a token that may do everything. The test's own requests use another one.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// Returns the server's process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Freezes the server: connections open, but nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Ends the server. Its data stays; connections are refused.
    pub fn stop(&self) {
        self.process.kill();
    }

    /// Starts a stopped server on the same data and ports, unsealed.
    pub fn start_again(&mut self) {
        self.process = run(self.folder.path());
        wait::until(BOUND, "OpenBao to listen again", || {
            self.process.assert_running();
            self.health()
        });
        self.unseal();
    }

    /// Seals the server: everything answers 503.
    pub fn seal(&self) {
        self.write("sys/seal", &json!({}));
    }

    /// Unseals the server and waits until it serves.
    pub fn unseal(&self) {
        let url = format!("{}/v1/sys/unseal", self.plain_address());
        admin::send_as("", http::Method::PUT, &url, Some(&json!({"key": self.unseal_key})));
        wait::until(BOUND, "OpenBao to serve", || {
            self.process.assert_running();
            self.health().filter(|status| *status == SERVING)
        });
    }

    /// Returns the status of `sys/health`, or `None` when nothing answers.
    pub fn health(&self) -> Option<u16> {
        health(&self.ports)
    }

    fn mount_kv(&self) {
        self.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
        self.write("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}}));
        // A new v2 mount prepares itself and answers 400 meanwhile.
        let url = format!("{}/v1/secret/data/probe", self.plain_address());
        wait::until(BOUND, "KV v2 to be ready", || {
            let answer =
                http::Request::new(http::Method::GET, &url).with_header("X-Vault-Token", self.admin_token());
            answer.send().ok().filter(|answer| answer.status == 404)
        });
    }
}

#[derive(Debug)]
struct Ports {
    tls: u16,
    plain: u16,
    clusters: [u16; 2],
}

impl Ports {
    fn choose() -> Self {
        Self { tls: ports::free(), plain: ports::free(), clusters: [ports::free(), ports::free()] }
    }
}

/// Starts a server on ports that nobody else took in the meantime.
fn listen(folder: &Path, options: &Options) -> (Ports, Process) {
    let mut attempts = 0..3;
    loop {
        let ports = Ports::choose();
        std::fs::write(folder.join("server.hcl"), configuration(folder, &ports, options))
            .expect("a configuration");
        let process = run(folder);
        let listening = wait::until(BOUND, "OpenBao to listen", || {
            health(&ports).map(|_status| true).or_else(|| process.ended().map(|_status| false))
        });
        if listening {
            return (ports, process);
        }
        if attempts.next().is_none() {
            process.assert_running();
        }
    }
}

fn configuration(folder: &Path, ports: &Ports, options: &Options) -> String {
    let folder = folder.display();
    let Ports { tls, plain, clusters: [cluster, unused] } = ports;
    let extra = &options.configuration;
    format!(
        r#"
storage "raft" {{
  path = "{folder}/raft"
  node_id = "tests"
  performance_multiplier = "1"
}}
cluster_addr = "http://127.0.0.1:{cluster}"
api_addr = "https://127.0.0.1:{tls}"
listener "tcp" {{
  address = "127.0.0.1:{tls}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file = "{folder}/server.key"
}}
listener "tcp" {{
  address = "127.0.0.1:{plain}"
  cluster_address = "127.0.0.1:{unused}"
  tls_disable = true
}}
audit "file" "requests" {{
  options {{
    file_path = "{folder}/{AUDIT_FILE}"
    hmac_accessor = "false"
  }}
}}
log_level = "warn"
{extra}
"#
    )
}

fn run(folder: &Path) -> Process {
    let mut command = Command::new(built::bao());
    command.arg("server").arg(format!("-config={}", folder.join("server.hcl").display()));
    Process::start("bao", command, folder)
}

fn health(ports: &Ports) -> Option<u16> {
    http::get(&format!("{}/v1/sys/health", plain_address(ports))).ok().map(|answer| answer.status)
}

fn plain_address(ports: &Ports) -> String {
    format!("http://127.0.0.1:{}", ports.plain)
}

/// Raft syncs every write: in memory that costs nothing, and nothing has to survive the machine.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("keywheel-bao-");
    builder.tempdir_in("/dev/shm").or_else(|_no_shm| builder.tempdir()).expect("a temporary folder")
}

const BOUND: Duration = Duration::from_secs(30);
const SERVING: u16 = 200;
const AUDIT_FILE: &str = "audit.log";
