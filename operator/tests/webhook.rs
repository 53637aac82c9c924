//! The real program, asked as an API server asks.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywheel_tests::certificates::Authority;
use keywheel_tests::http::{self, Answer, Method, Request};
use keywheel_tests::{Process, Signal, built, ports, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The program, with a certificate in files.
struct Webhook {
    folder: TempDir,
    authority: Authority,
    process: Process,
    reviews: u16,
    probes: u16,
}

impl Webhook {
    fn start(drain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::generate();
        authority.issue_server(folder.path());
        let (reviews, probes) = (ports::free(), ports::free());
        let mut command = program();
        command
            .arg("--listen")
            .arg(format!("127.0.0.1:{reviews}"))
            .arg("--probes")
            .arg(format!("127.0.0.1:{probes}"));
        command.args([
            "--image",
            "registry.shop.test/keywheel:1",
            "--native-sidecars",
            "on",
            "--drain",
            drain,
        ]);
        command.args(files(folder.path()));
        let process = Process::start("webhook", command, folder.path());
        let webhook = Self { folder, authority, process, reviews, probes };
        wait::until(BOUND, "the webhook to be ready", || {
            webhook.process.assert_running();
            webhook.probe("/readyz").filter(|answer| answer.status == 200)
        });
        webhook
    }

    fn probe(&self, path: &str) -> Option<Answer> {
        http::get(&format!("http://127.0.0.1:{}{path}", self.probes)).ok()
    }

    fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Answer {
        let url = format!("https://127.0.0.1:{}{path}", self.reviews);
        Request::new(method, &url).with_body(body).with_ca(self.authority.pem()).send().unwrap()
    }

    fn review(&self, review: &Value) -> Value {
        let answer = self.send(Method::POST, "/inject", review.to_string().into_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}

fn program() -> Command {
    let mut command = Command::new(built::program("keywheel-operator"));
    command.env_clear().arg("inject");
    command
}

fn files(folder: &Path) -> [std::ffi::OsString; 4] {
    [
        "--cert-file".into(),
        folder.join("server.pem").into(),
        "--key-file".into(),
        folder.join("server.key").into(),
    ]
}

fn review(pod: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "namespace": "shop", "dryRun": false,
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"}, "object": pod, "oldObject": null,
    }})
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
        "generateName": "orders-", "labels": {"keywheel.dev/inject": "true"}, "annotations": {
            "keywheel.dev/secret-db": "vault://secret/orders/db", "keywheel.dev/role": "orders",
            "keywheel.dev/provider-address": "https://vault.shop.test", "keywheel.dev/rolle": "slip"
        }}, "spec": {"containers": [{"name": "app", "image": "orders", "env": [{"name": "TOKEN", "value": "correct-horse"}]}]}})
}

#[test]
fn a_pod_is_injected_and_one_that_asks_for_nothing_is_not() {
    let webhook = Webhook::start("0s");
    let answered = webhook.review(&review(&pod()));
    assert_eq!(
        (&answered["apiVersion"], &answered["kind"]),
        (&"admission.k8s.io/v1".into(), &"AdmissionReview".into())
    );
    let response = &answered["response"];
    assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!((&response["allowed"], &response["patchType"]), (&true.into(), &"JSONPatch".into()));
    assert!(response["warnings"][0].as_str().unwrap().contains("keywheel.dev/rolle"), "{response}");
    let patch: Value =
        serde_json::from_slice(&STANDARD.decode(response["patch"].as_str().unwrap()).unwrap()).unwrap();
    let paths: Vec<&str> =
        patch.as_array().unwrap().iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/spec/initContainers") && paths.contains(&"/spec/volumes"), "{paths:?}");

    let mut plain = pod();
    plain["metadata"]["labels"] = json!({});
    let response = webhook.review(&review(&plain))["response"].take();
    assert_eq!(response, json!({"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true}));
    let mut updated = review(&pod());
    updated["request"]["operation"] = "UPDATE".into();
    assert_eq!(
        webhook.review(&updated)["response"]["patch"],
        Value::Null,
        "a pod that is there stays as it is"
    );

    let mut wrong = pod();
    wrong["metadata"]["annotations"]["keywheel.dev/mode"] = "sidecar".into();
    let response = webhook.review(&review(&wrong))["response"].take();
    assert_eq!(response["allowed"], false);
    assert!(response["status"]["message"].as_str().unwrap().contains("agent, run or once"), "{response}");

    let metrics = String::from_utf8(webhook.probe("/metrics").unwrap().body).unwrap();
    for line in [
        "{verdict=\"injected\"} 1",
        "{verdict=\"untouched\"} 2",
        "{verdict=\"refused\"} 1",
        "review_duration_seconds_bucket{le=\"+Inf\"} 4",
        "review_duration_seconds_count 4",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(!webhook.process.stderr().contains("correct-horse"), "{}", webhook.process.stderr());
}

#[test]
fn what_is_no_review_is_refused_and_told_why() {
    let webhook = Webhook::start("0s");
    let beta = review(&pod()).to_string().replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
    let mut no_pod = review(&pod());
    no_pod["request"]["object"]["spec"]["containers"] = "correct-horse".into();
    for (body, expected) in [
        (Vec::new(), "not JSON"),
        (b"\xff\xfe".to_vec(), "not JSON"),
        (b"[1, 2]".to_vec(), "no review of a pod"),
        (beta.into_bytes(), "admissionReviewVersions: [v1]"),
        (no_pod.to_string().into_bytes(), "no review of a pod"),
        (
            b"{\"apiVersion\": \"admission.k8s.io/v1\", \"kind\": \"AdmissionReview\"}".to_vec(),
            "has no request",
        ),
        ("[".repeat(100_000).into_bytes(), "no review of a pod"),
    ] {
        let answer = webhook.send(Method::POST, "/inject", body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 400, "{text}");
        assert!(text.contains(expected) && !text.contains("correct-horse"), "{text}");
    }
    let large = webhook.send(Method::POST, "/inject", vec![b' '; 10 << 20]);
    assert_eq!(large.status, 413);
    assert!(String::from_utf8_lossy(&large.body).contains("4 MiB"));
    assert_eq!(webhook.send(Method::GET, "/inject", Vec::new()).status, 405);
    assert_eq!(webhook.send(Method::POST, "/", Vec::new()).status, 404);
    assert!(!webhook.process.stderr().contains("correct-horse"), "{}", webhook.process.stderr());
    webhook.review(&review(&pod()));
}

#[test]
fn a_certificate_that_is_replaced_is_shown() {
    let mut webhook = Webhook::start("0s");
    webhook.review(&review(&pod()));
    // A pair that is half there, or does not fit, is not shown.
    std::fs::File::create(webhook.folder.path().join("server.key")).unwrap();
    wait::until(BOUND, "a complaint", || {
        webhook.process.stderr().contains("the certificate before stays").then_some(())
    });
    webhook.review(&review(&pod()));
    let next = Authority::generate();
    next.issue_server(webhook.folder.path());
    wait::until(BOUND, "the new certificate", || {
        webhook.process.stderr().contains("another certificate").then_some(())
    });
    let url = format!("https://127.0.0.1:{}/inject", webhook.reviews);
    assert!(
        Request::new(Method::POST, &url).with_ca(webhook.authority.pem()).send().is_err(),
        "the old authority"
    );
    webhook.authority = next;
    webhook.review(&review(&pod()));
}

#[test]
fn an_end_lets_nobody_down() {
    let webhook = Webhook::start("2s");
    webhook.process.signal(Signal::TERM);
    wait::until(BOUND, "not to be ready", || webhook.probe("/readyz").filter(|answer| answer.status == 503));
    assert_eq!(webhook.probe("/livez").unwrap().status, 200);
    // Whoever has not heard of it yet is still answered.
    webhook.review(&review(&pod()));
    assert_eq!(webhook.process.wait_for_end(BOUND).code(), Some(0), "{}", webhook.process.stderr());
}

#[test]
fn a_request_that_is_half_there_holds_up_no_end() {
    let webhook = Webhook::start("0s");
    let mut half = TcpStream::connect(format!("127.0.0.1:{}", webhook.probes)).unwrap();
    half.write_all(b"GET /livez HTT").unwrap();
    assert_eq!(webhook.probe("/livez").unwrap().status, 200);
    webhook.process.signal(Signal::TERM);
    assert_eq!(webhook.process.wait_for_end(BOUND).code(), Some(0), "{}", webhook.process.stderr());
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (free, other) = (format!("127.0.0.1:{}", ports::free()), format!("127.0.0.1:{}", ports::free()));
    let ended = |arguments: &[&str]| {
        let mut command = program();
        command.args(["--listen", &free, "--probes", &other, "--image", "k"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ended(&[]);
    assert!(code == 64 && said.contains("--webhook-configuration"), "{code} {said}");
    let (code, said) =
        ended(&["--native-sidecars", "on", "--webhook-configuration", "keywheel", "--host", "k.svc"]);
    assert!(code == 64 && said.contains("--kubeconfig"), "{code} {said}");
    let missing = files(folder.path()).map(|argument| argument.into_string().unwrap());
    let missing: Vec<&str> =
        ["--native-sidecars", "on"].into_iter().chain(missing.iter().map(String::as_str)).collect();
    let (code, said) = ended(&missing);
    assert!(code == 1 && said.contains("server.pem cannot be read"), "{code} {said}");
}

#[test]
fn the_help_names_every_flag() {
    let mut command = program();
    let output = command.env("COLUMNS", "100").arg("--help").output().unwrap();
    insta::assert_snapshot!("help", String::from_utf8(output.stdout).unwrap());
}

const BOUND: Duration = Duration::from_secs(30);
