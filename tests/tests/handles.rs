//! Ten thousand users of a hundred secrets: one lease and one timer for each secret, and next to nothing for each user.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keywheel_core::environment::Environment;
use keywheel_core::provider::Ending;
use keywheel_core::{Client, ExposeSecret as _, SecretString, SecretValue, Watched};
use keywheel_tests::{Accounts, OpenBao, wait};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The system's allocator, and how many bytes are taken from it.
struct Counted;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

#[derive(Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

const SECRETS: usize = 100;
const HANDLES: usize = 10_000;
const MOST: usize = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ten_thousand_handles_on_a_hundred_secrets_are_a_hundred_leases_and_tasks() {
    let (accounts, client) = stage();
    let bao = &accounts.stage.bao;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mark = bao.mark();
    let first: Vec<Watched<Login>> = watch(&client, SECRETS, "").await;
    assert!(first.iter().all(|login| login.current().username.starts_with("v-")));
    // One for each secret, one for the sessions; the rest are connections to the server.
    let (tasks, connections) = (alive(), alive() - SECRETS - 1);
    assert!(connections <= 4, "{connections} tasks more than secrets");

    let (taken, locked) = (TAKEN.load(Ordering::Relaxed), locked());
    let logins: Vec<Watched<Login>> = watch(&client, HANDLES, "").await;
    let each = (TAKEN.load(Ordering::Relaxed) - taken) / HANDLES;
    eprintln!("{HANDLES} handles on {SECRETS} secrets: {each} bytes each, {} tasks", alive());
    assert!(each < MOST, "{each} bytes for each handle");
    assert!(alive() <= tasks, "{} tasks more for more handles", alive() - tasks);

    let taken = TAKEN.load(Ordering::Relaxed);
    let values: Vec<Watched<SecretValue>> = watch(&client, HANDLES, "#password").await;
    let each = (TAKEN.load(Ordering::Relaxed) - taken + self::locked() - locked) / HANDLES;
    eprintln!("{HANDLES} handles of secret memory: {each} bytes each, secret pages included");
    assert!(each < MOST, "{each} bytes for each handle of secret memory");

    assert_eq!((leases(bao).len(), bao.count_since(mark, "database/creds/")), (SECRETS, SECRETS));
    let all_read = logins.iter().all(|login| !login.current().password.expose_secret().is_empty());
    assert!(all_read && values.iter().all(|value| !value.current().is_empty()));
    drop((first, logins));
    drop(values);
    wait::until_async("the leases to be given back", async || leases(bao).is_empty().then_some(())).await;
    client.close(Ending::Revoke, Client::CLOSE).await;
    drop(client);
    wait::until_async("the tasks to end", async || (alive() == 0).then_some(())).await;
}

fn stage() -> (Accounts, Client) {
    let accounts = Accounts::set(Duration::from_secs(3600), Duration::from_secs(7200));
    let bao = &accounts.stage.bao;
    for number in 0..SECRETS {
        bao.dynamic_role(&format!("role{number}"), Duration::from_secs(3600), Duration::from_secs(7200));
    }
    let policy = r#"
        path "database/creds/*" { capabilities = ["read"] }
        path "sys/leases/*" { capabilities = ["update"] }
    "#;
    bao.policy("library", policy);
    let token = bao.token(&json!({"policies": ["default", "library"], "ttl": "1h"})).token;
    let ca_file = bao.ca_file().display().to_string();
    let environment: Environment =
        [("VAULT_ADDR", bao.address()), ("VAULT_CACERT", ca_file), ("VAULT_TOKEN", token)]
            .into_iter()
            .collect();
    let client = keywheel_providers::builder_from(&environment).unwrap().build().unwrap();
    (accounts, client)
}

async fn watch<T: DeserializeOwned>(client: &Client, count: usize, field: &str) -> Vec<Watched<T>> {
    let mut handles = Vec::with_capacity(count);
    for number in 0..count {
        let reference = format!("vault://database/creds/role{}{field}", number % SECRETS);
        handles.push(client.watch(&reference).await.unwrap());
    }
    handles
}

fn leases(bao: &OpenBao) -> Vec<String> {
    (0..SECRETS).flat_map(|number| bao.leases(&format!("database/creds/role{number}"))).collect()
}

/// Returns how many bytes of this process are kept from being swapped: secret pages are.
fn locked() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}
