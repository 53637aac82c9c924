use std::collections::BTreeMap;
use std::pin::pin;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::client::Client;
use crate::clock::Clock;
use crate::config::ProviderConfig;
use crate::environment::Environment;
use crate::memory::{Lending, Memory};
use crate::provider::Ending;
use crate::registry::Kind as _;
use crate::{ExposeSecret as _, SecretString, SecretValue};

const SECOND: Duration = Duration::from_secs(1);
const LENDING: Lending =
    Lending { ttl: Duration::from_secs(60), max_ttl: Duration::from_secs(300), renewable: true };

#[derive(Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

fn client(memory: &Memory) -> Client {
    let blueprint = memory.configure_from(&Environment::default()).unwrap();
    let clock = Clock::paused(jiff::Timestamp::UNIX_EPOCH);
    Client::builder().clock(clock).provider("memory", ProviderConfig::new(blueprint)).build().unwrap()
}

/// Waits until everything that can happen without time passing has happened.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn the_newest_good_value_is_always_there_in_its_type() {
    let memory = Memory::new();
    memory.set("a", [("username", "u1"), ("password", "p1")]);
    let client = client(&memory);
    let mut login: Watched<Login> = client.watch("memory://a").await.unwrap();
    let password: Watched<SecretValue> = client.watch("memory://a#password").await.unwrap();
    assert_eq!((login.current().username.as_str(), login.current().password.expose_secret()), ("u1", "p1"));
    assert_eq!(password.current().expose_secret(), b"p1");

    memory.set("a", [("username", "u2"), ("password", "p2")]);
    let new = login.changed().await.unwrap();
    assert_eq!((new.username.as_str(), new.version().as_str()), ("u2", "2"));
    assert_eq!(password.current().expose_secret(), b"p2", "nobody has to wait for a change");

    memory.set("a", [("username", "u3")]);
    settle().await;
    assert_eq!(login.current().username, "u2", "what does not fit is not good");
    memory.set("a", [("username", "u4"), ("password", "p4")]);
    assert_eq!(login.changed().await.unwrap().username, "u4");
    assert!(!format!("{login:?} {:?}", login.current()).contains("u4"));
}

#[tokio::test(start_paused = true)]
async fn many_watchers_of_a_secret_are_one_reader_and_one_lease() {
    let memory = Memory::new();
    (0..100).for_each(|number| memory.lend(&format!("creds/{number}"), LENDING));
    let client = client(&memory);
    let mut watched: Vec<Watched<Login>> = Vec::new();
    for number in 0..10_000 {
        watched.push(client.watch(&format!("memory://creds/{}", number % 100)).await.unwrap());
    }
    assert_eq!((memory.loans().minted, memory.loans().live.len()), (100, 100));
    // One for each secret, and one for the sessions.
    assert_eq!(alive(), 101);
    assert!(size_of::<Watched<Login>>() + size_of::<Versioned<Login>>() + 64 < 1024, "of memory for each");
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(memory.loans().renewed, 100, "each lease is renewed once");
    drop(watched);
    settle().await;
    assert_eq!((memory.loans().live.len(), memory.loans().revoked.len(), alive()), (0, 100, 1));
}

#[tokio::test(start_paused = true)]
async fn an_old_lease_is_kept_until_everybody_has_confirmed_the_new_one() {
    let memory = Memory::new();
    memory.lend("creds", LENDING);
    let client = client(&memory);
    let mut one: Watched<Login> = client.watch("memory://creds").await.unwrap();
    let mut other: Watched<Login> = client.watch("memory://creds").await.unwrap();
    let (new, _) = (one.changed().await.unwrap(), other.changed().await.unwrap());
    assert_eq!(new.username, "creds/2");
    one.confirm();
    settle().await;
    assert!(memory.loans().live.contains_key("creds/1"), "the other one still uses it");
    other.confirm();
    settle().await;
    assert_eq!(memory.loans().revoked, ["creds/1"]);
    // One who is gone needs nothing.
    other.changed().await.unwrap();
    other.confirm();
    drop(one);
    settle().await;
    assert_eq!(memory.loans().revoked, ["creds/1", "creds/2"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_nobody_watches_any_more_is_given_back_and_can_be_watched_again() {
    let memory = Memory::new();
    memory.lend("creds", LENDING);
    memory.answer_after(SECOND);
    let client = client(&memory);
    let first: Watched<Login> = client.watch("memory://creds").await.unwrap();
    drop(first);
    let second: Watched<Login> = client.watch("memory://creds").await.unwrap();
    assert_eq!(second.current().username, "creds/2");
    assert_eq!(memory.loans().revoked, ["creds/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_ends_what_it_watches() {
    let memory = Memory::new();
    memory.lend("creds", LENDING);
    for keeps in [false, true] {
        let client = client(&memory);
        let mut login: Watched<Login> = client.watch("memory://creds").await.unwrap();
        let before = memory.loans().live.len();
        match keeps {
            true => client.close(Ending::Keep, SECOND).await,
            false => drop(client),
        }
        assert!(login.changed().await.unwrap_err().to_string().contains("the client is closed"));
        settle().await;
        assert_eq!(memory.loans().live.len(), if keeps { before } else { before - 1 });
        assert_eq!(alive(), 0);
    }
}

#[test]
fn a_client_that_is_dropped_outside_of_its_runtime_is_ended_in_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let memory = Memory::new();
    memory.lend("creds", LENDING);
    let client = Client::builder().own_provider("memory", memory.clone()).build().unwrap();
    let login = runtime.block_on(client.watch::<Login>("memory://creds")).unwrap();
    drop((client, login));
    let over = async {
        while alive() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(10 * SECOND, over).await }).unwrap();
    assert!(memory.loans().live.is_empty());
}

#[test]
fn a_secret_whose_runtime_has_ended_is_watched_anew() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let memory = Memory::new();
    memory.lend("creds", LENDING);
    let client = Client::builder().own_provider("memory", memory.clone()).build().unwrap();
    let first = runtime();
    let mut old = first.block_on(client.watch::<Login>("memory://creds")).unwrap();
    drop(first);
    let second = runtime();
    assert!(second.block_on(old.changed()).unwrap_err().to_string().contains("its runtime has ended"));
    let new = second.block_on(client.watch::<Login>("memory://creds")).unwrap();
    // It goes on with the lease that is there, and gives it back.
    assert_eq!((new.current().username.as_str(), memory.loans().minted), ("creds/1", 1));
    drop((new, old));
    let over = async {
        while !memory.loans().live.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    second.block_on(async { tokio::time::timeout(10 * SECOND, over).await }).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let memory = Memory::new();
    memory.set("a", [("username", "u")]);
    let client = client(&memory);
    let message = async |reference: &str| client.watch::<Login>(reference).await.unwrap_err().to_string();
    assert!(message("memory://none").await.contains("not found"));
    assert!(message("memory://a").await.contains("the secret has no field \"password\""));
    assert!(message("nothing").await.contains("read reference"));
    assert!(message("other://a").await.contains("there is no provider"));
    memory.fail_until_cleared(Error::new(ErrorKind::Unavailable, "read", "the source is down"));
    assert!(message("memory://a").await.contains("the source is down"));
    settle().await;
    assert_eq!(alive(), 1);
    memory.clear_faults();
    memory.fail_next(2, Error::new(ErrorKind::Unavailable, "read", "the source is down"));
    let name: Watched<String> = client.watch("memory://a").await.unwrap();
    assert_eq!(**name.current(), *"u", "an outage is waited for");
}

/// What a program may do with its watches.
#[derive(Clone, Debug)]
enum Act {
    Watch(u8),
    /// Gives up while it waits for the first value.
    GiveUp(u8, u16),
    Drop(u8),
    Confirm(u8),
    /// Waits for a change, at most so many milliseconds.
    Change(u8, u16),
    /// Has a task of its own panic with what it watches.
    Panic(u8),
    Sleep(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        any::<u8>().prop_map(Act::Watch),
        (any::<u8>(), 0_u16..1500).prop_map(|(secret, after)| Act::GiveUp(secret, after)),
        any::<u8>().prop_map(Act::Drop),
        any::<u8>().prop_map(Act::Confirm),
        (any::<u8>(), 0_u16..40_000).prop_map(|(secret, after)| Act::Change(secret, after)),
        any::<u8>().prop_map(Act::Panic),
        (0_u16..40_000).prop_map(Act::Sleep),
    ]
}

async fn perform(act: Act, client: &Client, watched: &mut BTreeMap<u8, Watched<Login>>) {
    let milliseconds = |number: u16| Duration::from_millis(number.into());
    let nth = |number: u8, watched: &BTreeMap<u8, _>| {
        watched.keys().nth(usize::from(number) % watched.len().max(1)).copied()
    };
    let name = |secret: u8| format!("memory://creds/{}", secret % 3);
    match act {
        Act::Watch(secret) => {
            watched.insert(secret, client.watch(&name(secret)).await.unwrap());
        }
        Act::GiveUp(secret, after) => {
            drop(tokio::time::timeout(milliseconds(after), client.watch::<Login>(&name(secret))).await);
        }
        Act::Drop(number) => drop(nth(number, watched).and_then(|key| watched.remove(&key))),
        Act::Confirm(number) => drop(nth(number, watched).map(|key| watched[&key].confirm())),
        Act::Change(number, after) => {
            if let Some(login) = nth(number, watched).and_then(|key| watched.get_mut(&key)) {
                drop(tokio::time::timeout(milliseconds(after), pin!(login.changed())).await);
            }
        }
        Act::Panic(number) => {
            if let Some(login) = nth(number, watched).and_then(|key| watched.remove(&key)) {
                let task = tokio::spawn(async move { std::panic::resume_unwind(Box::new(login)) });
                drop(task.await);
            }
        }
        Act::Sleep(span) => tokio::time::sleep(milliseconds(span)).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Dropped, given up or panicked over: no lease is left, and no task.
    #[test]
    fn nothing_is_left_whatever_a_program_does(acts in prop::collection::vec(act(), 0..25), delay in 0_u64..1000, closes in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (live, alive) = runtime.block_on(async {
            let memory = Memory::new();
            (0..3).for_each(|number| memory.lend(&format!("creds/{number}"), LENDING));
            memory.answer_after(Duration::from_millis(delay));
            let client = client(&memory);
            let mut watched = BTreeMap::new();
            for act in acts {
                perform(act, &client, &mut watched).await;
            }
            match closes {
                true => client.close(Ending::Revoke, Client::CLOSE).await,
                false => {
                    drop(client);
                    tokio::time::sleep(2 * Client::CLOSE).await;
                }
            }
            (memory.loans().live, alive())
        });
        prop_assert!(live.is_empty(), "{live:?}");
        prop_assert_eq!(alive, 0);
    }
}
