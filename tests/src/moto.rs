//! Runs moto, which plays AWS: Secrets Manager, SSM Parameter Store and STS of one account in [`REGION`].
//!
//! It checks no credentials and throttles nobody; what it does not play, [`crate::Faults`] shows. It answers one request at a time.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::http::{Answer, Method, Request};
use crate::process::Process;
use crate::{built, ports, wait};

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Moto {
    address: String,
    /// Who answers for the server, where it speaks TLS.
    authority: Option<Authority>,
    _process: Process,
    _logs: TempDir,
}

impl Moto {
    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it does not within 60 s, or when `cargo xtask test` has not brought it yet.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// As [`Moto::start`], with TLS; [`Moto::ca`] answers for it.
    pub fn start_tls() -> Self {
        Self::start_with(Some(Authority::generate()))
    }

    fn start_with(authority: Option<Authority>) -> Self {
        let logs = tempfile::Builder::new().prefix("keywheel-moto-").tempdir().expect("a temporary folder");
        let mut attempts = 0..3;
        loop {
            let port = ports::free();
            let mut command = Command::new("python3");
            command.args(["-c", ONE_AT_A_TIME, "-H", "127.0.0.1", "-p", &port.to_string()]);
            command.env("PYTHONPATH", built::moto()).current_dir(logs.path());
            if let Some(authority) = &authority {
                let issued = authority.issue_server(logs.path());
                command.arg("--ssl-cert").arg(issued.certificate_file);
                command.arg("--ssl-key").arg(issued.key_file);
            }
            let process = Process::start("moto", command, logs.path());
            let scheme = if authority.is_some() { "https" } else { "http" };
            let address = format!("{scheme}://127.0.0.1:{port}");
            let url = format!("{address}/moto-api/data.json");
            let serves = wait::until(BOUND, "moto to serve", || {
                let answer = trusting(Request::new(Method::GET, &url), authority.as_ref()).send();
                let answers = answer.is_ok_and(|answer| answer.status == 200).then_some(true);
                answers.or_else(|| process.ended().map(|_status| false))
            });
            if serves {
                return Self { address, authority, _process: process, _logs: logs };
            }
            if attempts.next().is_none() {
                process.assert_running();
            }
        }
    }

    /// Returns the origin, as in `AWS_ENDPOINT_URL`.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Returns the certificate of who answers for the server, PEM.
    ///
    /// # Panics
    ///
    /// When it speaks no TLS.
    pub fn ca(&self) -> &str {
        self.authority.as_ref().expect("an authority").pem()
    }

    /// Makes a secret, or gives it a new version; returns the version's id.
    pub fn put(&self, name: &str, text: &str) -> String {
        self.put_value(name, &json!({"SecretString": text}))
    }

    /// As [`Moto::put`], for a value that is no text.
    pub fn put_binary(&self, name: &str, bytes: &[u8]) -> String {
        self.put_value(name, &json!({"SecretBinary": STANDARD.encode(bytes)}))
    }

    /// Returns the ARN of a secret.
    pub fn arn(&self, name: &str) -> String {
        let secret = self.secrets("DescribeSecret", &json!({"SecretId": name}));
        secret["ARN"].as_str().expect("an ARN").to_owned()
    }

    /// Deletes a secret at once.
    pub fn delete(&self, name: &str) {
        self.secrets("DeleteSecret", &json!({"SecretId": name, "ForceDeleteWithoutRecovery": true}));
    }

    /// Marks a secret for deletion in a week.
    pub fn schedule_deletion(&self, name: &str) {
        self.secrets("DeleteSecret", &json!({"SecretId": name, "RecoveryWindowInDays": 7}));
    }

    /// Makes or replaces a parameter of SSM.
    pub fn put_parameter(&self, name: &str, kind: &str, value: &str) {
        let body = json!({"Name": name, "Type": kind, "Value": value, "Overwrite": true});
        success("PutParameter", &self.send("ssm", "AmazonSSM", "PutParameter", &body));
    }

    /// Deletes a parameter of SSM.
    pub fn delete_parameter(&self, name: &str) {
        success("DeleteParameter", &self.send("ssm", "AmazonSSM", "DeleteParameter", &json!({"Name": name})));
    }

    /// Makes a user of IAM with an access key, and returns the key's id and its secret.
    pub fn make_user(&self, name: &str) -> (String, String) {
        self.iam(&format!("Action=CreateUser&UserName={name}"));
        let key = self.iam(&format!("Action=CreateAccessKey&UserName={name}"));
        let element = |name: &str| {
            let (_, rest) = key.split_once(&format!("<{name}>"))?;
            Some(rest.split_once("</")?.0.to_owned())
        };
        (element("AccessKeyId").expect("an id"), element("SecretAccessKey").expect("a secret"))
    }

    /// Calls an operation of Secrets Manager and returns what it answers.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn secrets(&self, operation: &str, body: &Value) -> Value {
        success(operation, &self.send("secretsmanager", "secretsmanager", operation, body))
    }

    fn put_value(&self, name: &str, value: &Value) -> String {
        let with = |key: &str| {
            let mut body = value.clone();
            body[key] = name.into();
            body
        };
        let created = self.send("secretsmanager", "secretsmanager", "CreateSecret", &with("Name"));
        let answer = match created.status {
            200 => created.json(),
            _ => self.secrets("PutSecretValue", &with("SecretId")),
        };
        answer["VersionId"].as_str().expect("a version's id").to_owned()
    }

    fn iam(&self, form: &str) -> String {
        let scope = scope("iam");
        let request = Request::new(Method::POST, &self.address)
            .with_header("Content-Type", "application/x-www-form-urlencoded")
            .with_header("Authorization", &scope)
            .with_body(format!("{form}&Version=2010-05-08").into_bytes());
        let answer = trusting(request, self.authority.as_ref()).send().expect("an answer of moto's");
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        answer.text()
    }

    fn send(&self, service: &str, target: &str, operation: &str, body: &Value) -> Answer {
        let (target, scope) = (format!("{target}.{operation}"), scope(service));
        let request = Request::new(Method::POST, &self.address)
            .with_header("Content-Type", "application/x-amz-json-1.1")
            .with_header("X-Amz-Target", &target)
            .with_header("Authorization", &scope);
        trusting(request.with_json(body), self.authority.as_ref()).send().expect("an answer of moto's")
    }
}

/// Tells moto the service and the region; nothing is signed.
fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

fn trusting<'a>(request: Request<'a>, authority: Option<&'a Authority>) -> Request<'a> {
    match authority {
        Some(authority) => request.with_ca(authority.pem()),
        None => request,
    }
}

fn success(operation: &str, answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
    answer.json()
}

/// The region that everything is in.
pub const REGION: &str = "eu-west-1";

const BOUND: Duration = Duration::from_secs(60);
const ONE_AT_A_TIME: &str = include_str!("moto.py");
