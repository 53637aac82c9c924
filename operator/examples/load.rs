//! Measures the webhook on one core: a thousand reviews at one moment, again and again, which wait for each other; a thousand askers, each of which asks now
//! and then; and one review after the other. Prints how long they took and the memory that is resident.
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
use tokio::sync::Semaphore;
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
    let (client, url) = (client(authority.pem()), format!("https://127.0.0.1:{reviews}/inject"));
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        let took = runtime.block_on(load(&client, &url));
        told(
            &format!("round {round}, all at one moment ({:.0} ms)", milliseconds(begun.elapsed())),
            took,
            &process,
        );
    }
    let took = runtime.block_on(steady(&client, &url));
    told(&format!("{AT_ONCE} askers, a review of each every {} s", EVERY.as_secs()), took, &process);
    let took = runtime.block_on(alone(&client, &url));
    told("one after the other", took, &process);
    println!("most that was resident: {:.1} MB", megabytes(process.peak_bytes()));
}

fn told(what: &str, mut took: Vec<Duration>, process: &Process) {
    took.sort();
    let at = |hundredths: usize| milliseconds(took[(took.len() - 1) * hundredths / 100]);
    let (count, resident) = (took.len(), megabytes(process.resident_bytes()));
    println!(
        "{what}: {count} reviews, p50 {:.2} ms, p99 {:.2} ms; resident {resident:.1} MB",
        at(50),
        at(99)
    );
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

async fn load(client: &reqwest::Client, url: &str) -> Vec<Duration> {
    let (body, flying) = (Arc::new(review()), Arc::new(Semaphore::new(IN_FLIGHT)));
    let mut all = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, url, body, flying) =
            (client.clone(), url.to_owned(), Arc::clone(&body), Arc::clone(&flying));
        all.spawn(async move {
            let begun = Instant::now();
            let _turn = flying.acquire().await.unwrap();
            send(&client, &url, &body).await;
            begun.elapsed()
        });
    }
    all.join_all().await
}

/// Each asks twice, at moments of its own.
async fn steady(client: &reqwest::Client, url: &str) -> Vec<Duration> {
    let body = Arc::new(review());
    let mut all = JoinSet::new();
    for number in 0..AT_ONCE {
        let (client, url, body) = (client.clone(), url.to_owned(), Arc::clone(&body));
        all.spawn(async move {
            tokio::time::sleep(EVERY * number / AT_ONCE).await;
            let first = send(&client, &url, &body).await;
            tokio::time::sleep(EVERY.saturating_sub(first)).await;
            [first, send(&client, &url, &body).await]
        });
    }
    all.join_all().await.into_iter().flatten().collect()
}

async fn alone(client: &reqwest::Client, url: &str) -> Vec<Duration> {
    let body = review();
    let mut took = Vec::new();
    for _ in 0..AT_ONCE {
        took.push(send(client, url, &body).await);
    }
    took
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

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

const AT_ONCE: u32 = 1000;
/// How many requests that change something an API server has under way (`--max-mutating-requests-inflight`).
const IN_FLIGHT: usize = 200;
/// How often one of many asks.
const EVERY: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 5;
