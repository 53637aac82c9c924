//! Runs a real nginx with a certificate that is delivered to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, Signal};
use crate::{ports, wait};

/// A server that may run; ended by its master's number when dropped.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    process: Option<Process>,
    folder: TempDir,
}

impl Nginx {
    /// Chooses a port; [`Nginx::start`] starts the server there.
    pub fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("keywheel-nginx-").tempdir().expect("a temporary folder");
        Self { port: ports::free(), process: None, folder }
    }

    /// Starts the server for TLS with `tls.crt` and `tls.key` in `directory`, and waits until it takes connections.
    pub fn start(&mut self, directory: &Path) {
        let (port, folder) = (self.port, &self.folder);
        let (crt, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        let configuration = format!(
            "daemon off; pid {folder}/pid; worker_processes 1; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl; server_name web.shop.test;
    ssl_certificate {crt}; ssl_certificate_key {key};
    location / {{ return 200 \"ok\\n\"; }}
  }}
}}
",
            folder = folder.path().display(),
            crt = crt.display(),
            key = key.display(),
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a configuration file");
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        let process = Process::start("nginx", command, folder.path());
        wait::until(Duration::from_secs(20), "nginx to listen", || {
            process.assert_running();
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        self.process = Some(process);
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the file that has the number of its master.
    pub fn pid_file(&self) -> PathBuf {
        self.folder.path().join("pid")
    }

    /// Returns what it wrote.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }
}

impl Default for Nginx {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers; SIGKILL would leave them.
        if let Some(process) = &self.process {
            process.end_by(Signal::TERM, Duration::from_secs(5));
        }
    }
}
