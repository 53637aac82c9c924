//! Measures the webhook: a thousand reviews at once, on one core, again and again; prints how long they took and the memory that is resident.
//!
//! `cargo run --release --package keywheel-operator --example load -- target/release/keywheel-operator`

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a program for developers that measures and prints, and ends where it cannot"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keywheel_tests::certificates::Authority;
use keywheel_tests::{Process, http, ports, wait};
use serde_json::json;
use tokio::task::JoinSet;

fn main() {
    let program = std::env::args().nth(1).expect("the program: target/release/keywheel-operator");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::generate();
    let files = authority.issue_server(folder.path());
    let (reviews, probes) = (ports::free(), ports::free());
    // One core, whatever the machine has.
    let mut command = Command::new("taskset");
    command.args(["-c", "0", &program, "inject", "--image", "keywheel", "--native-sidecars", "on"]);
    command
        .arg("--listen")
        .arg(format!("127.0.0.1:{reviews}"))
        .arg("--probes")
        .arg(format!("127.0.0.1:{probes}"));
    command.arg("--cert-file").arg(&files.certificate_file).arg("--key-file").arg(&files.key_file);
    let process = Process::start("webhook", command, folder.path());
    wait::until(Duration::from_secs(30), "the webhook to be ready", || {
        process.assert_running();
        http::get(&format!("http://127.0.0.1:{probes}/readyz")).ok().filter(|answer| answer.status == 200)
    });
    println!("resident before: {:.1} MB", megabytes(process.resident_bytes()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for round in 1..=ROUNDS {
        let (mut took, whole) =
            runtime.block_on(load(authority.pem(), &format!("https://127.0.0.1:{reviews}/inject")));
        took.sort();
        let at = |hundredths: usize| took[(took.len() - 1) * hundredths / 100].as_secs_f64() * 1000.0;
        println!(
            "round {round}: {} reviews at once in {:.0} ms ({:.0} a second): p50 {:.0} ms, p99 {:.0} ms; resident {:.1} MB",
            took.len(),
            whole.as_secs_f64() * 1000.0,
            took.len() as f64 / whole.as_secs_f64(),
            at(50),
            at(99),
            megabytes(process.resident_bytes())
        );
    }
    println!("most that was resident: {:.1} MB", megabytes(process.peak_bytes()));
    // One after the other: what a single pod waits for.
    let alone = runtime.block_on(alone(authority.pem(), &format!("https://127.0.0.1:{reviews}/inject")));
    println!("one after the other: {:.2} ms each", alone.as_secs_f64() * 1000.0);
}

fn client(authority: &str) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
    // As an API server has: connections that stay.
    reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap()
}

async fn send(client: &reqwest::Client, url: &str, body: &str) -> Duration {
    let begun = Instant::now();
    let answer = client.post(url).body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().len() > 1000, "an answer without a patch");
    begun.elapsed()
}

async fn load(authority: &str, url: &str) -> (Vec<Duration>, Duration) {
    let (client, body) = (client(authority), Arc::new(review()));
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, url, body) = (client.clone(), url.to_owned(), Arc::clone(&body));
        all.spawn(async move { send(&client, &url, &body).await });
    }
    (all.join_all().await, begun.elapsed())
}

async fn alone(authority: &str, url: &str) -> Duration {
    let (client, body) = (client(authority), review());
    send(&client, url, &body).await;
    let begun = Instant::now();
    for _ in 0..AT_ONCE {
        send(&client, url, &body).await;
    }
    begun.elapsed() / AT_ONCE
}

/// A review of a pod as a Deployment makes it, with a template and three secrets.
fn review() -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "orders-7f9c8-", "namespace": "shop", "labels": {"keywheel.dev/inject": "true", "app": "orders"}, "annotations": {
            "keywheel.dev/provider-address": "https://vault.shop.test", "keywheel.dev/role": "orders",
            "keywheel.dev/secret-db": "vault://database/creds/orders", "keywheel.dev/secret-api": "vault://secret/orders/api#key",
            "keywheel.dev/secret-mail": "vault://secret/orders/mail", "keywheel.dev/template-app.env": "USER={{ db.username }}\nPASSWORD={{ db.password }}\n",
        }},
        "spec": {"containers": [{"name": "app", "image": "orders:3", "env": (0..40).map(|n| json!({"name": format!("SETTING_{n}"), "value": "on"})).collect::<Vec<_>>()}]},
    });
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "resource": resource, "namespace": "shop", "object": pod,
    }})
    .to_string()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

const AT_ONCE: u32 = 1000;
const ROUNDS: u32 = 5;
