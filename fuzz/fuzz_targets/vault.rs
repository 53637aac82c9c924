//! Answers of a Vault or OpenBao server, to each of the questions that the provider asks: the first byte says to which, the second the status.

#![no_main]

use std::sync::LazyLock;

use http::Response;
use keywheel_core::config::Config;
use keywheel_core::{SecretRef, Version};
use keywheel_fuzz::{client, parse, run};
use keywheel_providers::fuzzing::answering;
use libfuzzer_sys::{Corpus, fuzz_target};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "providers: {vault: {kind: vault, address: \"http://127.0.0.1:1\", \
                auth: {method: approle, role_id: r, secret_id: s}}}\nadmin: {listen: \"127.0.0.1:1\"}\n";
    parse(text).expect("a configuration")
});

/// A question: what is read, and the request whose answer is the input.
const QUESTIONS: [(&str, &str); 9] = [
    ("vault://secret/a/b?kv=2", "/v1/secret/"),
    ("vault://secret/a/b?kv=1", "/v1/secret/"),
    ("vault://secret/a/b?kv=2&version=3", "/v1/secret/"),
    ("vault://secret/a/b", "/v1/sys/internal/"),
    ("vault://database/creds/a", "/v1/database/"),
    ("vault://pki/issue/a?common_name=a&ttl=1h", "/v1/pki/"),
    ("vault://secret/a/b?kv=2", "/v1/auth/"),
    (WRAPPED, "/v1/sys/wrapping/lookup"),
    (WRAPPED, "/v1/sys/wrapping/unwrap"),
];
const WRAPPED: &str = concat!("vault://secret/a?wrapped=", env!("CARGO_MANIFEST_DIR"), "/wrapping-token.txt");

/// What is answered to all other requests.
const OTHERWISE: [(&str, &str); 5] = [
    ("/v1/auth/", r#"{"auth": {"client_token": "t", "lease_duration": 3600, "renewable": true}}"#),
    (
        "/v1/sys/internal/ui/mounts/secret/",
        r#"{"data": {"path": "secret/", "type": "kv", "options": {"version": "2"}}}"#,
    ),
    ("/v1/sys/internal/ui/mounts/database/", r#"{"data": {"path": "database/", "type": "database"}}"#),
    ("/v1/sys/internal/ui/mounts/pki/", r#"{"data": {"path": "pki/", "type": "pki"}}"#),
    ("/v1/sys/wrapping/lookup", r#"{"data": {"creation_path": "secret/a", "creation_ttl": 60}}"#),
];

const STATUSES: [u16; 12] = [200, 204, 307, 400, 401, 403, 404, 405, 412, 429, 500, 503];

fuzz_target!(|input: &[u8]| -> Corpus {
    let [question, status, body @ ..] = input else { return Corpus::Reject };
    let Some((reference, asked)) = QUESTIONS.get(usize::from(question.wrapping_sub(b'0'))) else {
        return Corpus::Reject;
    };
    let Some(status) = STATUSES.get(usize::from(status.wrapping_sub(b'0'))) else { return Corpus::Reject };
    let body = body.to_vec();
    let answer = move |url: &str| {
        let path = url.trim_start_matches("http://127.0.0.1:1");
        let otherwise = OTHERWISE.iter().find(|(begin, _)| path.starts_with(begin));
        let answer = Response::builder();
        match otherwise {
            Some((_, json)) if !path.starts_with(asked) => answer.body(json.as_bytes().to_vec()),
            _ => {
                // The body's first line is the headers', too.
                let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let answer = answer.status(*status);
                match http::HeaderValue::from_bytes(line) {
                    Ok(value) => answer.header("retry-after", value.clone()).header("location", value),
                    Err(_) => answer,
                }
                .body(body.clone())
            }
        }
        .expect("an answer")
    };
    let reference: SecretRef = reference.parse().expect("a reference");
    answering(answer, || run(read(&reference)));
    Corpus::Keep
});

/// Asks as the keeper of a secret does.
async fn read(reference: &SecretRef) {
    let client = client(&CONFIG);
    let provider = client.provider(reference).expect("a provider");
    let read = provider.read(reference).await;
    let known = read.as_ref().map_or_else(|_| Version::new(1), |secret| secret.version().clone());
    if let (Ok(secret), Some(leases)) = (&read, provider.leases())
        && let Some(lease) = secret.upkeep.lease()
    {
        leases.renew(lease).await.ok();
        leases.look_up(lease).await.ok();
        leases.revoke(lease).await.ok();
    }
    // Three at once ask for a list.
    let other =
        |name: &str| -> SecretRef { format!("vault://secret/a/{name}?kv=2").parse().expect("a reference") };
    let (b, c) = (other("c"), other("d"));
    let changed = async |reference| provider.read_if_changed(reference, &known).await.map(drop);
    tokio::join!(changed(reference), changed(&b), changed(&c)).0.ok();
}
