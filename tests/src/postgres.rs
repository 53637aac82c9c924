//! Runs a real PostgreSQL: data in memory, passwords (scram-sha-256) over TCP.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, Signal};
use crate::service_user::ServiceUser;
use crate::sql::{Account, Connection};
use crate::{built, ports, wait};

/// A running server; ended and removed when dropped.
///
/// It keeps none of its promises about a machine that loses power (`fsync=off`): its data goes with it anyway.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    password: String,
    process: Process,
    // Dropped last: the server's files are in it.
    _folder: TempDir,
}

impl Postgres {
    /// Starts a server and waits until it lets its superuser in.
    ///
    /// As root, the server runs as the user `postgres`, which Debian's package makes: it refuses to be root.
    ///
    /// # Panics
    ///
    /// When it does not within 30 s, or when PostgreSQL's programs are not there.
    pub fn start() -> Self {
        let folder = folder();
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let user = ServiceUser::of_server("postgres");
        user.own(folder.path());
        initialize(folder.path(), &user, &password);
        let (port, process) = listen(folder.path(), &user, &password);
        Self { port, password, process, _folder: folder }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the superuser's name.
    pub fn admin_user(&self) -> &str {
        ADMIN
    }

    /// Returns the superuser's password.
    pub fn admin_password(&self) -> &str {
        &self.password
    }

    /// Returns the server's process, the postmaster.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Runs statements as the superuser.
    ///
    /// # Panics
    ///
    /// When the server refuses one.
    pub fn execute(&self, sql: &str) {
        self.query(sql);
    }

    /// Runs statements as the superuser, on a connection of their own; returns the rows, each value as text and NULL as
    /// an empty one.
    ///
    /// # Panics
    ///
    /// When the server refuses one.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.admin().query(sql, BOUND);
        rows.unwrap_or_else(|error| panic!("PostgreSQL refused {sql:?}: {error}"))
    }

    /// Opens a connection as `user`, runs `SELECT 1` and closes it.
    ///
    /// # Errors
    ///
    /// Why not, as the server said it, or that `bound` has passed.
    pub fn login(&self, user: &str, password: &str, bound: Duration) -> Result<(), String> {
        Account { port: self.port, user, password }.query("SELECT 1", bound).map(drop)
    }

    /// Opens a connection as `user` that stays open.
    ///
    /// # Panics
    ///
    /// When the server does not let the account in.
    pub fn connect(&self, user: &str, password: &str) -> Connection {
        Account { port: self.port, user, password }.connect()
    }

    /// Returns the roles whose names begin with `prefix`, in order.
    pub fn roles_like(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.replace('\'', "''");
        let sql =
            format!("SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{prefix}') ORDER BY rolname");
        self.query(&sql).into_iter().flatten().collect()
    }

    fn admin(&self) -> Account<'_> {
        Account { port: self.port, user: ADMIN, password: &self.password }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // PostgreSQL's immediate shutdown: the postmaster ends its children, frees its shared memory and goes. SIGKILL
        // would leave it no time for either.
        self.process.end_by(Signal::QUIT, BOUND);
    }
}

/// Begins one of PostgreSQL's programs, which runs in `folder`, with the locale that every machine has.
fn command(program: &str, folder: &Path, user: &ServiceUser) -> Command {
    let mut command = Command::new(built::postgres(program));
    command.current_dir(folder).env("LC_ALL", "C").arg("-D").arg(folder.join("data"));
    user.run(&mut command);
    command
}

fn initialize(folder: &Path, user: &ServiceUser, password: &str) {
    let password_file = folder.join("password");
    fs::write(&password_file, password).expect("a password file");
    user.own(&password_file);
    let mut command = command("initdb", folder, user);
    command.args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--no-instructions"]);
    command.arg(format!("--username={ADMIN}")).arg(format!("--pwfile={}", password_file.display()));
    let process = Process::start("initdb", command, folder);
    let status = process.wait_for_end(BOUND);
    assert!(status.success(), "initdb ended with {status}; it wrote:\n{}", process.stderr());
}

/// Starts the server on a port that nobody else took in the meantime.
fn listen(folder: &Path, user: &ServiceUser, password: &str) -> (u16, Process) {
    let mut attempts = 0..3;
    loop {
        let port = ports::free();
        let process = run(folder, user, port);
        let admin = Account { port, user: ADMIN, password };
        let listening = wait::until(BOUND, "PostgreSQL to let its superuser in", || {
            let open = admin.query("SELECT 1", BOUND).ok().map(|_rows| true);
            open.or_else(|| process.ended().map(|_status| false))
        });
        if listening {
            return (port, process);
        }
        if attempts.next().is_none() {
            process.assert_running();
        }
    }
}

fn run(folder: &Path, user: &ServiceUser, port: u16) -> Process {
    let mut command = command("postgres", folder, user);
    let sockets = format!("unix_socket_directories={}", folder.display());
    let port = format!("port={port}");
    for setting in [port.as_str(), &sockets].into_iter().chain(SETTINGS) {
        command.args(["-c", setting]);
    }
    Process::start("postgres", command, folder)
}

/// In memory where there is some: nothing has to survive the machine.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("keywheel-pg-");
    builder.tempdir_in("/dev/shm").or_else(|_no_shm| builder.tempdir()).expect("a temporary folder")
}

const BOUND: Duration = Duration::from_secs(30);
const ADMIN: &str = "keywheel";
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "max_connections=200",
    "fsync=off",
    "full_page_writes=off",
    // Several servers share the machine with the programs under test.
    "shared_buffers=16MB",
    "autovacuum=off",
    // In the data folder, so that it goes with it whatever ends the server.
    "dynamic_shared_memory_type=mmap",
];
