//! A webhook that runs beside the cluster.

use std::process::Command;
use std::time::Duration;

use keywheel_tests::{Process, Signal, built, http, ports, wait};
use tempfile::TempDir;

use super::{image, kubeconfig};

/// One process of the webhook's, on this host.
pub(crate) struct Replica {
    process: Process,
    reviews: u16,
    _folder: TempDir,
}

impl Replica {
    pub(crate) fn start(configuration: &str, name: &str, life: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (reviews, probes) = (ports::free(), ports::free());
        let mut command = Command::new(built::program("keywheel-operator"));
        command.args([
            "inject",
            "--host",
            "127.0.0.1",
            "--certificate-life",
            life,
            "--drain",
            "0s",
            "--replica",
            name,
        ]);
        command
            .arg("--listen")
            .arg(format!("127.0.0.1:{reviews}"))
            .arg("--probes")
            .arg(format!("127.0.0.1:{probes}"));
        command
            .args(["--webhook-configuration", configuration, "--image", &image()])
            .arg("--kubeconfig")
            .arg(kubeconfig());
        let process = Process::start("webhook", command, folder.path());
        wait::until(Duration::from_secs(30), "the webhook to be ready", || {
            process.assert_running();
            http::get(&format!("http://127.0.0.1:{probes}/readyz")).ok().filter(|answer| answer.status == 200)
        });
        Self { process, reviews, _folder: folder }
    }

    pub(crate) fn port(&self) -> u16 {
        self.reviews
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.ended().is_none()
    }

    pub(crate) fn stop(&self) {
        self.process.signal(Signal::TERM);
        assert_eq!(
            self.process.wait_for_end(Duration::from_secs(20)).code(),
            Some(0),
            "{}",
            self.process.stderr()
        );
    }
}
