//! Runs one program once and looks at it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use keywheel_tests::openbao::Token;
use keywheel_tests::{OpenBao, Process, Tmpfs};
use serde_json::json;

use crate::contender::{Contender, Job};
use crate::options::Options;

/// The server with its secrets.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    server: &'a OpenBao,
}

/// What one run showed.
#[derive(Debug)]
pub(crate) struct Run {
    /// From the program's start until its last file is there.
    pub(crate) start: Duration,
    /// CPU time until then, which depends less on who else uses the machine.
    pub(crate) start_cpu: Duration,
    /// Requests that the server logged until then.
    pub(crate) start_requests: usize,
    /// Resident bytes when the idle time is over.
    pub(crate) resident: u64,
    /// CPU time during the idle time.
    pub(crate) cpu: Duration,
    /// Requests that the server logged during the idle time.
    pub(crate) requests: usize,
    /// How long the idle time was.
    pub(crate) idle: Duration,
}

impl<'a> Stage<'a> {
    /// Writes the secrets and the policy that lets a program read them.
    pub(crate) fn set(server: &'a OpenBao, options: &Options) -> Self {
        eprintln!("writing {} secrets", options.secrets);
        for index in 0..options.secrets {
            server.kv_put("secret", &format!("bench/{index}"), &json!({"value": format!("{index:064}")}));
        }
        server.policy(
            POLICY,
            r#"
            path "secret/data/bench/*" { capabilities = ["read"] }
            path "secret/metadata/bench/*" { capabilities = ["read"] }
            "#,
        );
        Self { server }
    }

    /// Runs `contender` with this many secrets, and watches it for `idle` when it is done.
    ///
    /// # Panics
    ///
    /// When it ends, or when its files are not there after two minutes.
    pub(crate) fn run(&self, contender: Contender, secrets: usize, idle: Duration) -> Run {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let volume = Tmpfs::mount(VOLUME_BYTES);
        let token = self.server.token(&json!({"policies": ["default", POLICY], "ttl": "24h"}));
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, &token.token).expect("a token file");
        let job = Job {
            server: self.server,
            token_file: &token_file,
            volume: volume.path(),
            folder: folder.path(),
            secrets,
        };

        let command = contender.command(&job);
        let mark = self.server.mark();
        let begun = Instant::now();
        let process = Process::start(contender.name(), command, folder.path());
        wait_for_files(&process, job.files(), begun);
        let (start, start_cpu) = (begun.elapsed(), process.cpu_time());
        let start_requests = self.requests(mark, &token);

        thread::sleep(SETTLE);
        let (cpu, mark) = (process.cpu_time(), self.server.mark());
        thread::sleep(idle);
        let run = Run {
            start,
            start_cpu,
            start_requests,
            resident: process.resident_bytes(),
            cpu: process.cpu_time().saturating_sub(cpu),
            requests: self.requests(mark, &token),
            idle,
        };
        drop(process);
        self.server.revoke(&token);
        run
    }

    fn requests(&self, mark: keywheel_tests::openbao::Mark, token: &Token) -> usize {
        let requests = self.server.requests_since(mark);
        requests.iter().filter(|request| request.accessor.as_ref() == Some(&token.accessor)).count()
    }
}

/// Looks for one file at a time: a look at a thousand would take the program's time.
fn wait_for_files(process: &Process, files: impl Iterator<Item = PathBuf>, begun: Instant) {
    for file in files {
        while !file.exists() {
            if let Some(status) = process.ended() {
                panic!("ended with {status}:\n{}{}", process.stdout(), process.stderr());
            }
            assert!(
                begun.elapsed() < BOUND,
                "no {} after {BOUND:?}; it wrote:\n{}",
                file.display(),
                process.stderr()
            );
            thread::sleep(LOOK);
        }
    }
}

const POLICY: &str = "bench";
const VOLUME_BYTES: u64 = 64 << 20;
const BOUND: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_micros(200);
/// What a program does right after its first delivery is neither its start nor its idling.
const SETTLE: Duration = Duration::from_secs(2);
