//! Runs the example `sighup_pool`, whose database credential is delivered and replaced.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::{Postgres, built, http, ports, wait};

/// A web application that may run, and its address.
#[derive(Debug)]
pub struct WebApp {
    name: String,
    address: String,
    process: Option<Process>,
    folder: TempDir,
}

impl WebApp {
    /// Chooses an address; [`WebApp::start`] or another program starts it there.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("keywheel-web-").tempdir().expect("a temporary folder");
        let name = format!("web{}{}", std::process::id(), fastrand::u16(..));
        // The kernel takes a process's name from the path that it was started by, not from where a link leads.
        symlink(built::program("examples/sighup_pool"), folder.path().join(&name))
            .expect("a link to the program");
        Self { name, address: format!("127.0.0.1:{}", ports::free()), process: None, folder }
    }

    /// Returns the process's name, which no other process of this machine has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the program and its arguments: it serves from `postgres` with the credential in `directory`.
    pub fn command(&self, postgres: &Postgres, directory: &Path, breaks_on: Option<&str>) -> Vec<String> {
        let database = format!("host=127.0.0.1 port={} dbname=postgres", postgres.port());
        let program = self.folder.path().join(&self.name).display().to_string();
        let mut command = vec![program, self.address.clone(), database, directory.display().to_string()];
        command.extend(breaks_on.map(str::to_owned));
        command
    }

    /// Starts the program and waits until it serves.
    pub fn start(&mut self, command: &[String]) {
        let mut started = Command::new(&command[0]);
        started.args(&command[1..]);
        self.process = Some(Process::start("sighup_pool", started, self.folder.path()));
        self.wait_serving();
    }

    /// Waits until it serves.
    pub fn wait_serving(&self) {
        wait::until(Duration::from_secs(20), "the web application to serve", || {
            if let Some(process) = &self.process {
                process.assert_running();
            }
            http::get(&self.url("/")).ok().filter(|answer| answer.status == 200)
        });
    }

    /// Returns the URL of one of its pages.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Default for WebApp {
    fn default() -> Self {
        Self::new()
    }
}
