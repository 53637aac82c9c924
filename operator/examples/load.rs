//! Measures the webhook on one core: a thousand reviews at one moment, again and again, which wait for each other, of one API server and of five; a thousand
//! askers, each of which asks now and then; and one review after the other. Prints how long they took, how long each was answered for by the webhook's own
//! histogram, and the memory that is resident.
//!
//! `cargo run --release --package keywheel-operator --example load -- target/release/keywheel-operator`

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a program for developers that measures and prints, and ends where it cannot"
)]

use std::net::IpAddr;
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
    let url = format!("https://127.0.0.1:{reviews}/inject");
    // The webhook bounds what one peer has of it; all of 127/8 is this host.
    let clients: Vec<_> =
        (1..=SERVERS).map(|number| client(authority.pem(), [127, 0, 0, number].into())).collect();
    let mut teller = Teller { process, probes, before: Vec::new() };
    for round in 1..=ROUNDS {
        for servers in [&clients[..1], &clients] {
            let begun = Instant::now();
            let took = runtime.block_on(load(servers, &url));
            let (of, span) = (servers.len(), milliseconds(begun.elapsed()));
            teller.tell(&format!("round {round}, all at one moment from {of} ({span:.0} ms)"), took);
        }
    }
    let took = runtime.block_on(steady(&clients[0], &url));
    teller.tell(&format!("{AT_ONCE} askers, a review of each every {} s", EVERY.as_secs()), took);
    let took = runtime.block_on(alone(&clients[0], &url));
    teller.tell("one after the other", took);
    println!("most that was resident: {:.1} MB", megabytes(teller.process.peak_bytes()));
}

/// Prints what a round took, as its askers and as the webhook have seen it.
struct Teller {
    process: Process,
    probes: u16,
    before: Vec<(f64, f64)>,
}

impl Teller {
    fn tell(&mut self, what: &str, mut took: Vec<Duration>) {
        took.sort();
        let at = |hundredths: usize| milliseconds(took[(took.len() - 1) * hundredths / 100]);
        let (count, resident) = (took.len(), megabytes(self.process.resident_bytes()));
        println!(
            "{what}: {count} reviews, p50 {:.2} ms, p99 {:.2} ms; resident {resident:.1} MB",
            at(50),
            at(99)
        );
        let now = self.histogram();
        let before = |place: usize| self.before.get(place).map_or(0.0, |(_, count)| *count);
        let own: Vec<_> =
            now.iter().enumerate().map(|(place, (bound, count))| (*bound, count - before(place))).collect();
        let all = own.last().unwrap().1;
        let within = |part: f64| own.iter().find(|(_, count)| *count >= part * all).unwrap().0 * 1000.0;
        let small = own.iter().find(|(bound, _)| *bound == 0.005).unwrap().1 / all * 100.0;
        println!(
            "  in the webhook: p50 at most {} ms, p99 at most {} ms; {small:.2}% within 5 ms",
            within(0.5),
            within(0.99)
        );
        self.before = now;
    }

    /// Returns the bounds of the webhook's histogram in seconds, and how many answers were within each.
    fn histogram(&self) -> Vec<(f64, f64)> {
        let metrics = http::get(&format!("http://127.0.0.1:{}/metrics", self.probes)).unwrap().text();
        let buckets = metrics.lines().filter_map(|line| {
            line.strip_prefix("keywheel_operator_review_duration_seconds_bucket{le=\"")?.split_once("\"} ")
        });
        buckets.map(|(bound, count)| (bound.parse().unwrap(), count.parse().unwrap())).collect()
    }
}

/// Returns an API server's client, at an address of its own.
fn client(authority: &str, address: IpAddr) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
    // As an API server has: connections that stay, but no more than a few.
    let client = reqwest::Client::builder().local_address(address).pool_max_idle_per_host(IDLE);
    client.no_proxy().tls_certs_only([trusted]).build().unwrap()
}

async fn send(client: &reqwest::Client, url: &str, body: &str) -> Duration {
    let begun = Instant::now();
    let answer = client.post(url).body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().len() > 1000, "an answer without a patch");
    begun.elapsed()
}

/// Has a thousand reviews asked for at one moment, an equal part by each API server.
async fn load(servers: &[reqwest::Client], url: &str) -> Vec<Duration> {
    let body = Arc::new(review());
    let flying: Vec<_> = servers.iter().map(|_| Arc::new(Semaphore::new(IN_FLIGHT))).collect();
    let mut all = JoinSet::new();
    for (client, flying) in servers.iter().zip(&flying).cycle().take(AT_ONCE as usize) {
        let (client, url, body, flying) =
            (client.clone(), url.to_owned(), Arc::clone(&body), Arc::clone(flying));
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
/// How many API servers there are, at most.
const SERVERS: u8 = 5;
/// How many connections that nobody uses an API server keeps.
const IDLE: usize = 25;
/// How often one of many asks.
const EVERY: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 5;
