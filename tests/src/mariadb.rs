//! Runs a real MariaDB: data in memory, passwords over TCP.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Row, Value};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::process::Process;
use crate::service_user::ServiceUser;
use crate::{built, ports, wait};

/// A running server; ended and removed when dropped. It notes every statement that it is sent; see [`MariaDb::log`].
#[derive(Debug)]
pub struct MariaDb {
    port: u16,
    password: String,
    process: Option<Process>,
    // Dropped last: the server's files are in it.
    folder: TempDir,
}

impl MariaDb {
    /// Starts a server and waits until it lets its administrator in.
    ///
    /// As root, the server runs as the user `mysql`, which Debian's package makes: it refuses to be root.
    ///
    /// # Panics
    ///
    /// When it does not within 30 s, or when MariaDB's programs are not there.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server as [`MariaDb::start`] does, with more of its options.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn start_with(options: &[&str]) -> Self {
        let folder = folder();
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let user = ServiceUser::of_server("mysql");
        user.own(folder.path());
        initialize(folder.path(), &user, &password);
        let (port, process) = listen(folder.path(), &user, &password, options);
        Self { port, password, process: Some(process), folder }
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the administrator's name.
    pub fn admin_user(&self) -> &str {
        ADMIN
    }

    /// Returns the administrator's password.
    pub fn admin_password(&self) -> &str {
        &self.password
    }

    /// Ends the server, which answers nobody from then on.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Returns the statements that the server noted, each as it came in.
    ///
    /// # Panics
    ///
    /// When there is no log.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.path().join(LOG)).expect("the server's log");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Runs a statement as the administrator.
    ///
    /// # Panics
    ///
    /// When the server refuses it.
    pub fn execute(&self, sql: &str) {
        self.query(sql);
    }

    /// Runs a statement as the administrator, on a connection of its own; returns the rows, each value as text and NULL as
    /// an empty one.
    ///
    /// # Panics
    ///
    /// When the server refuses it.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = query(self.port, ADMIN, &self.password, sql, BOUND);
        rows.unwrap_or_else(|error| panic!("MariaDB refused {sql:?}: {error}"))
    }

    /// Opens a connection as `user`, runs `SELECT 1` and closes it.
    ///
    /// # Errors
    ///
    /// Why not, as the server said it, or that `bound` has passed.
    pub fn login(&self, user: &str, password: &str, bound: Duration) -> Result<(), String> {
        self.query_as(user, password, "SELECT 1", bound).map(drop)
    }

    /// Runs a statement as `user`, as [`MariaDb::query`] does.
    ///
    /// # Errors
    ///
    /// Why not, as the server said it, or that `bound` has passed.
    pub fn query_as(
        &self,
        user: &str,
        password: &str,
        sql: &str,
        bound: Duration,
    ) -> Result<Vec<Vec<String>>, String> {
        query(self.port, user, password, sql, bound)
    }
}

fn query(
    port: u16,
    user: &str,
    password: &str,
    sql: &str,
    bound: Duration,
) -> Result<Vec<Vec<String>>, String> {
    let ask = async {
        let answer = tokio::time::timeout(bound, query_async(port, user, password, sql)).await;
        answer.map_or_else(
            |_elapsed| Err(format!("no answer within {bound:?}")),
            |rows| rows.map_err(|error| error.to_string()),
        )
    };
    // A thread of its own, because an asynchronous test's thread may not block on another runtime.
    std::thread::scope(|scope| scope.spawn(|| RUNTIME.block_on(ask)).join().expect("the query's thread"))
}

async fn query_async(port: u16, user: &str, password: &str, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).prefer_socket(false);
    let mut connection = Conn::new(options.user(Some(user)).pass(Some(password))).await?;
    let rows: Vec<Row> = connection.query(sql).await?;
    connection.disconnect().await?;
    Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
}

fn text(value: Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::NULL => String::new(),
        other => other.as_sql(true),
    }
}

/// Begins one of MariaDB's programs. Its temporary tables are in a folder of its own: a server that starts removes what it finds where they are.
fn command(program: &str, folder: &Path, user: &ServiceUser) -> Command {
    let mut command = Command::new(built::mariadb(program));
    command.current_dir(folder).env("TMPDIR", folder);
    user.run(&mut command);
    command
}

fn initialize(folder: &Path, user: &ServiceUser, password: &str) {
    let begin = folder.join(BEGIN);
    // One statement a line, run at every start.
    let account = format!("'{ADMIN}'@'%'");
    fs::write(
        &begin,
        format!(
            "CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{password}';\n\
             GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;\n"
        ),
    )
    .expect("the first statements");
    user.own(&begin);
    let mut command = command("mariadb-install-db", folder, user);
    command.args(["--no-defaults", "--skip-name-resolve", "--skip-test-db"]);
    command.arg(format!("--datadir={}", folder.join("data").display()));
    let process = Process::start("mariadb-install-db", command, folder);
    let status = process.wait_for_end(BOUND);
    assert!(status.success(), "mariadb-install-db ended with {status}; it wrote:\n{}", process.stderr());
}

/// Starts the server on a port that nobody else took in the meantime.
fn listen(folder: &Path, user: &ServiceUser, password: &str, options: &[&str]) -> (u16, Process) {
    let mut attempts = 0..3;
    loop {
        let port = ports::free();
        let process = run(folder, user, port, options);
        let listening = wait::until(BOUND, "MariaDB to let its administrator in", || {
            let open = query(port, ADMIN, password, "SELECT 1", BOUND).ok().map(|_rows| true);
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

fn run(folder: &Path, user: &ServiceUser, port: u16, options: &[&str]) -> Process {
    let mut command = command("mariadbd", folder, user);
    command.arg("--no-defaults").arg(format!("--port={port}"));
    for (option, file) in [
        ("datadir", "data"),
        ("socket", "socket"),
        ("pid-file", "pid"),
        ("init-file", BEGIN),
        ("general-log-file", LOG),
    ] {
        command.arg(format!("--{option}={}", folder.join(file).display()));
    }
    command.args(SETTINGS).args(options);
    Process::start("mariadbd", command, folder)
}

/// In memory where there is some: nothing has to survive the machine.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("keywheel-maria-");
    builder.tempdir_in("/dev/shm").or_else(|_no_shm| builder.tempdir()).expect("a temporary folder")
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

const BOUND: Duration = Duration::from_secs(30);
const ADMIN: &str = "keywheel";
const BEGIN: &str = "begin.sql";
const LOG: &str = "general.log";
const SETTINGS: [&str; 9] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--general-log=1",
    "--max-connections=200",
    // Several servers share the machine with the programs under test.
    "--innodb-buffer-pool-size=8M",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
];
