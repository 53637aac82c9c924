//! A program whose tasks are dropped, aborted or panic wherever they are: nothing of theirs is left at the server, and no task runs on.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use keywheel_core::provider::Ending;
use keywheel_core::{Client, SecretString, SecretValue, Watched};
use keywheel_tests::{Accounts, soak, wait};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;

use super::{ACCOUNTS, BOUND, SECOND, SECRETS, client};

/// Neither is used: that they can be read is enough.
#[derive(Deserialize)]
struct Login {
    #[expect(dead_code, reason = "read by nobody here")]
    username: String,
    #[expect(dead_code, reason = "read by nobody here")]
    password: SecretString,
}

/// What a task does next.
#[derive(Clone, Debug)]
enum Act {
    Get,
    Watch(Role),
    /// Waits for a change of what it watches, at most so many milliseconds.
    Change(u64),
    Confirm,
    /// Drops what it watched first.
    Drop,
    Sleep(u64),
}

/// Whose accounts are watched.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// They would stay for an hour if they were left.
    Long,
    /// They are replaced all the time.
    Short,
}

/// How a task ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// When it is done.
    Well,
    /// It is dropped where it waits for this time.
    Dropped(usize),
    /// It panics there, with all that it has.
    Panics(usize),
    /// It is aborted from outside, so many milliseconds after its start.
    Aborted(u64),
}

#[derive(Clone, Debug)]
struct Program {
    tasks: Vec<(Vec<Act>, End)>,
    leaves: Leave,
}

/// What a program does with its client when its tasks have ended.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Closes,
    Drops,
    /// It goes on with it: what nobody watches any more has to be gone all the same.
    Stays,
}

fn program() -> impl Strategy<Value = Program> {
    let role = prop_oneof![Just(Role::Long), Just(Role::Short)];
    let act = prop_oneof![
        1 => Just(Act::Get),
        4 => role.prop_map(Act::Watch),
        2 => (0_u64..1500).prop_map(Act::Change),
        2 => Just(Act::Confirm),
        1 => Just(Act::Drop),
        1 => (0_u64..300).prop_map(Act::Sleep),
    ];
    let end = prop_oneof![
        1 => Just(End::Well),
        2 => (0_usize..25).prop_map(End::Dropped),
        2 => (0_usize..25).prop_map(End::Panics),
        2 => (0_u64..1500).prop_map(End::Aborted),
    ];
    let task = (prop::collection::vec(act, 1..8), end);
    let leaves = prop_oneof![Just(Leave::Closes), Just(Leave::Drops), Just(Leave::Stays)];
    let program = (prop::collection::vec(task, 1..6), leaves);
    program.prop_map(|(tasks, leaves)| Program { tasks, leaves })
}

async fn act(client: Client, acts: Vec<Act>) {
    let mut watched: Vec<Watched<Login>> = Vec::new();
    for act in acts {
        match act {
            Act::Get => {
                client.get("vault://secret/orders/db#password").await.map(|_: SecretValue| ()).unwrap();
            }
            Act::Watch(role) => {
                let path = match role {
                    Role::Long => "vault://database/creds/long",
                    Role::Short => "vault://database/creds/short",
                };
                watched.push(client.watch(path).await.unwrap());
            }
            Act::Change(limit) => {
                if let Some(login) = watched.last_mut() {
                    drop(tokio::time::timeout(Duration::from_millis(limit), login.changed()).await);
                }
            }
            Act::Confirm => watched.iter().for_each(Watched::confirm),
            Act::Drop => drop((!watched.is_empty()).then(|| watched.remove(0))),
            Act::Sleep(span) => tokio::time::sleep(Duration::from_millis(span)).await,
        }
    }
}

/// Goes on with `task` until it has waited `waits` times, and ends it there, by a panic or by dropping it.
async fn interrupted(task: impl Future<Output = ()>, mut waits: usize, panics: bool) {
    let mut task = pin!(task);
    poll_fn(|context| {
        if waits == 0 && panics {
            std::panic::resume_unwind(Box::new("by appointment"));
        }
        if waits == 0 {
            return Poll::Ready(());
        }
        waits -= 1;
        task.as_mut().poll(context)
    })
    .await;
}

/// Runs the program to its end; `are_gone` tells whether no account of it is left.
async fn run(program: Program, client: Client, are_gone: impl Fn() -> bool) {
    let tasks: Vec<_> = program
        .tasks
        .into_iter()
        .map(|(acts, end)| {
            let acts = act(client.clone(), acts);
            tokio::spawn(async move {
                match end {
                    End::Well => acts.await,
                    End::Dropped(waits) => interrupted(acts, waits, false).await,
                    End::Panics(waits) => interrupted(acts, waits, true).await,
                    End::Aborted(after) => {
                        let task = tokio::spawn(acts);
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        task.abort();
                        task.await
                            .or_else(|error| if error.is_cancelled() { Ok(()) } else { Err(error) })
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        if let Err(error) = task.await {
            let panic = error.into_panic();
            assert_eq!(panic.downcast_ref(), Some(&"by appointment"), "a task has failed");
        }
    }
    match program.leaves {
        Leave::Closes => client.close(Ending::Revoke, Client::CLOSE).await,
        Leave::Drops => drop(client),
        Leave::Stays => {
            wait::until_async("what is not watched to be given back", async || are_gone().then_some(()))
                .await;
        }
    }
}

#[test]
fn nothing_is_left_wherever_tasks_end() {
    let accounts = Accounts::set(3600 * SECOND, 7200 * SECOND);
    let bao = &accounts.stage.bao;
    bao.dynamic_role("long", 3600 * SECOND, 7200 * SECOND);
    bao.dynamic_role("short", 2 * SECOND, 3 * SECOND);
    bao.kv_put("secret", "orders/db", &json!({"password": "p"}));
    let cases = soak::count(12, 150);
    let config = ProptestConfig {
        cases: cases.try_into().unwrap(),
        failure_persistence: None,
        max_shrink_iters: 30,
        ..ProptestConfig::default()
    };
    let (mark, policy) = (bao.mark(), format!("{ACCOUNTS}{SECRETS}"));
    TestRunner::new(config)
        .run(&program(), |program| {
            let runtime = runtime();
            let client = client(bao, &policy).build().unwrap();
            let left = || [bao.leases("database/creds/long"), bao.leases("database/creds/short")].concat();
            runtime.block_on(run(program, client, || left().is_empty()));
            let metrics = runtime.metrics();
            runtime.block_on(wait::until_async("the tasks to end", async || {
                (metrics.num_alive_tasks() == 0).then_some(())
            }));
            let gone = wait::within(SECOND, || left().is_empty().then_some(()));
            prop_assert!(gone.is_some(), "left: {:?}", left());
            Ok(())
        })
        .unwrap();
    wait::until(BOUND, "the accounts to be gone", || accounts.made().is_empty().then_some(()));
    let made = bao.count_since(mark, "database/creds/");
    eprintln!("{cases} programs, {made} accounts made, none left");
    assert!(made >= cases, "the programs did something: {made}");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
