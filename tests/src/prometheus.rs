//! Runs a real Prometheus that scrapes one target every second, with Keywheel's own alerts.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Method, Request};
use crate::process::Process;
use crate::{ports, wait};

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: String,
    process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes `target` (`http://HOST:PORT`, below which there is `/metrics`), and waits until it serves.
    pub fn scrape(target: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("keywheel-prometheus-").tempdir().expect("a folder");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/alerts.yaml");
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n  - {{job_name: keywheel, static_configs: [{{targets: [\"{}\"]}}]}}\n",
            rules.display(),
            target.trim_start_matches("http://"),
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).expect("a configuration file");
        let listen = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={listen}"));
        let process = Process::start("prometheus", command, folder.path());
        let started = Self { address: format!("http://{listen}"), process, _folder: folder };
        wait::until(Duration::from_secs(30), "Prometheus to serve", || {
            started.process.assert_running();
            let answer = Request::new(Method::GET, &format!("{}/-/ready", started.address)).send();
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        started
    }

    /// Asks its API (`/api/v1/…`) and returns the data of the answer.
    pub fn ask(&self, path: &str) -> Value {
        let url = format!("{}/api/v1/{path}", self.address);
        let answer = Request::new(Method::GET, &url).send().expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["data"].clone()
    }

    /// Returns the newest value of each series that `query`, which needs no escaping, yields.
    pub fn values(&self, query: &str) -> Vec<f64> {
        let answer = self.ask(&format!("query?query={query}"));
        let series = answer["result"].as_array().expect("series");
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        series.iter().filter_map(value).collect()
    }
}
