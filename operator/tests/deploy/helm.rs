//! The real Helm: a program around its SDK that is asked over its standard streams, a line of JSON each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use keywheel_tests::built;
use serde_json::{Value, json};

use super::manifests;

/// A running Helm. It is ended when this is dropped.
pub(crate) struct Helm {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Helm {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(built::helm())
            // Charts are rendered for no cluster.
            .env("KUBECONFIG", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut helm = Self { process, input, output: BufReader::new(output), asked: 0 };
        let client = json!({"name": "keywheel", "version": "0"});
        helm.ask(
            "initialize",
            &json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}),
        );
        helm.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        helm
    }

    /// Renders the chart, and takes away the labels that only Helm sets.
    ///
    /// # Errors
    /// What Helm says against the values.
    pub(crate) fn template(&mut self, namespace: &str, values: &Value) -> Result<Vec<Value>, String> {
        let chart = manifests::path("helm/keywheel-operator");
        let rendered = self.tool(
            "helm_template",
            &json!({"release_name": "secrets", "chart": chart, "namespace": namespace, "values": values}),
        )?;
        let mut objects = manifests::parse(&rendered);
        for object in &mut objects {
            let labels = object["metadata"]["labels"].as_object_mut().unwrap();
            labels.retain(|label, _| !OF_HELM.contains(&label.as_str()));
        }
        Ok(objects)
    }

    /// Returns what Helm finds in the chart, from warnings on.
    pub(crate) fn lint(&mut self) -> Vec<Value> {
        let chart = manifests::path("helm/keywheel-operator");
        let report = self.tool("helm_lint", &json!({"paths": [chart], "strict": true})).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["total_charts"], &report["passed"]), (&json!(1), &json!(true)), "{report}");
        let messages = report["messages"].as_array().unwrap().iter();
        messages.filter(|message| message["severity"] != "INFO").cloned().collect()
    }

    fn tool(&mut self, name: &str, arguments: &Value) -> Result<String, String> {
        let answer = self.ask("tools/call", &json!({"name": name, "arguments": arguments}));
        let text = answer["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        if answer["result"]["isError"] == true { Err(text) } else { Ok(text) }
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "Helm has ended");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == self.asked {
                return answer;
            }
        }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

const OF_HELM: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];
