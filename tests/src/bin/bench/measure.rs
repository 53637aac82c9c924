//! Runs one program and looks at it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use keywheel_tests::openbao::{Mark, Seen, Token};
use keywheel_tests::{OpenBao, Process, Tmpfs};
use serde_json::json;
use tempfile::TempDir;

use crate::contender::Contender;
use crate::job::{Job, Order};

/// A program that has delivered its files once.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) start: Start,
    server: &'a OpenBao,
    token: Token,
    process: Process,
    // Dropped last: the program's files are in them.
    volume: Tmpfs,
    _folder: TempDir,
}

/// What a program's start showed.
#[derive(Debug)]
pub(crate) struct Start {
    /// Until the last file was there.
    pub(crate) elapsed: Duration,
    /// CPU time until then, which depends less on who else uses the machine.
    pub(crate) cpu: Duration,
    /// CPU time that the server needed for it.
    pub(crate) server_cpu: Duration,
    /// Requests that the server logged until then.
    pub(crate) requests: usize,
}

/// What a span showed.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) elapsed: Duration,
    /// CPU time.
    pub(crate) cpu: Duration,
    /// The requests that the server logged.
    pub(crate) requests: Vec<Seen>,
    /// How often one of its threads was given a core.
    pub(crate) wake_ups: u64,
    /// Resident bytes when it was over.
    pub(crate) resident: u64,
    /// Those of them that are not of the program's file.
    pub(crate) own: u64,
    /// The most that were resident, since the program began.
    pub(crate) peak: u64,
}

impl<'a> Running<'a> {
    /// Starts `contender` with a token that has the policy [`POLICY`], and waits until it has delivered `order`.
    ///
    /// # Panics
    ///
    /// When it ends, or when its files are not there after two minutes.
    pub(crate) fn start(server: &'a OpenBao, contender: Contender, order: &Order) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let volume = Tmpfs::mount(VOLUME_BYTES);
        let token = server.token(&json!({"policies": ["default", POLICY], "ttl": "24h"}));
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, &token.token).expect("a token file");
        let job =
            Job { order, server, token_file: &token_file, volume: volume.path(), folder: folder.path() };

        let command = contender.command(&job);
        let (mark, server_before) = (server.mark(), server.process().cpu_time());
        let begun = Instant::now();
        let process = Process::start(contender.name(), command, folder.path());
        wait_for_files(&process, job.files(), begun);
        let (elapsed, cpu) = (begun.elapsed(), process.cpu_time());
        let server_cpu = server.process().cpu_time().saturating_sub(server_before);
        let requests = requests_of(&token, server, mark).count();
        let start = Start { elapsed, cpu, server_cpu, requests };
        Self { start, server, token, process, volume, _folder: folder }
    }

    /// Watches what the program does while `happens` happens.
    pub(crate) fn watch<T>(&self, happens: impl FnOnce() -> T) -> (Span, T) {
        let (cpu, wake_ups) = (self.process.cpu_time(), self.process.wake_ups());
        let (mark, begun) = (self.server.mark(), Instant::now());
        let outcome = happens();
        let span = Span {
            elapsed: begun.elapsed(),
            cpu: self.process.cpu_time().saturating_sub(cpu),
            wake_ups: self.process.wake_ups().saturating_sub(wake_ups),
            requests: requests_of(&self.token, self.server, mark).collect(),
            resident: self.process.resident_bytes(),
            own: self.process.own_bytes(),
            peak: self.process.peak_bytes(),
        };
        (span, outcome)
    }

    /// Watches the program for `idle`, after a pause: what it does right after its start is neither that nor idling.
    pub(crate) fn watch_idle(&self, idle: Duration) -> Span {
        thread::sleep(SETTLE);
        self.watch(|| thread::sleep(idle)).0
    }

    /// Returns the program's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns the path of a delivered file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.volume.path().join(name)
    }

    /// Ends the program, and all that hangs on its token.
    pub(crate) fn end(self) {
        drop(self.process);
        self.server.revoke(&self.token);
    }
}

fn requests_of(token: &Token, server: &OpenBao, mark: Mark) -> impl Iterator<Item = Seen> {
    let requests = server.requests_since(mark).into_iter();
    requests.filter(|request| request.accessor.as_ref() == Some(&token.accessor))
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

/// The policy of the programs' tokens, beside `default`.
pub(crate) const POLICY: &str = "bench";

const VOLUME_BYTES: u64 = 64 << 20;
const BOUND: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_micros(200);
const SETTLE: Duration = Duration::from_secs(2);
