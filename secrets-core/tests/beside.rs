//! What a program has the engine keep beside its deliveries, and how it learns that everything is there.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::config::{Config, ProviderConfig};
use keywheel_core::engine::{Beside, Engine, Next};
use keywheel_core::environment::Environment;
use keywheel_core::memory::Memory;
use keywheel_core::notify::Supervisor;
use keywheel_core::registry::Kind;
use keywheel_core::{Clock, Error, ErrorKind, SecretRef, State};
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(30);

fn engine(memory: &Memory, beside: &Beside) -> Result<Engine, Error> {
    let blueprint = memory.configure_from(&Environment::default()).unwrap();
    let providers = BTreeMap::from([("memory".to_owned(), ProviderConfig::new(blueprint))]);
    let clock = Clock::paused(Timestamp::UNIX_EPOCH);
    Engine::build_beside(&Config::of_providers(providers), &clock, &State::in_memory(), beside)
}

fn beside() -> Beside {
    let references = ["memory://a#k", "memory://a#l", "memory://b"].map(|text| text.parse().unwrap());
    Beside { references: references.into(), ..Beside::default() }
}

/// Runs an engine while `watch` does something beside it.
async fn run<T>(engine: Engine, watch: impl Future<Output = T>) -> T {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = engine.run(async {
        stopped.await.ok();
        Next::Nobody
    });
    let watching = async {
        let seen = watch.await;
        stop.send(()).unwrap();
        seen
    };
    let (ended, seen) = tokio::join!(running, watching);
    ended.unwrap();
    seen
}

#[tokio::test(start_paused = true)]
async fn secrets_without_a_delivery_are_kept_and_told_of() {
    let memory = Memory::new();
    memory.set("a", [("k", "1"), ("l", "1")]);
    memory.set("b", [("k", "1")]);
    let beside = beside();
    let engine = engine(&memory, &beside).unwrap();
    let reference: SecretRef = "memory://a#k".parse().unwrap();
    let (handle, beginning, status) = (engine.kept(&reference).unwrap(), engine.beginning(), engine.status());
    assert!(!status.status().ready);
    run(engine, async {
        beginning.wait(LIMIT).await.unwrap();
        let names: Vec<String> = status.status().beside.into_iter().map(|secret| secret.name).collect();
        assert_eq!(names, ["memory://a", "memory://b"], "each once");
        assert!(status.status().ready);
        // The first values are news, too.
        beside.wake.notified().await;
        memory.set("a", [("k", "2"), ("l", "1")]);
        beside.wake.notified().await;
        assert_eq!(handle.revision(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_only_an_edit_can_mend_ends_the_beginning_at_once() {
    let memory = Memory::new();
    memory.set("a", [("k", "1")]);
    let engine = engine(&memory, &beside()).unwrap();
    let beginning = engine.beginning();
    let begun = tokio::time::Instant::now();
    let error = run(engine, beginning.wait(LIMIT)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_waited_for_within_the_limit() {
    let memory = Memory::new();
    memory.set("a", [("k", "1")]);
    memory.set("b", [("k", "1")]);
    memory.fail_until_cleared(Error::new(ErrorKind::Unavailable, "read", "sealed"));
    let first = engine(&memory, &beside()).unwrap();
    let beginning = first.beginning();
    let begun = tokio::time::Instant::now();
    let error = run(first, beginning.wait(LIMIT)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() >= LIMIT);
}

#[test]
fn an_engine_has_something_to_do_or_somebody_to_serve() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let memory = Memory::new();
    assert!(engine(&memory, &Beside::default()).is_err());
    assert!(engine(&memory, &Beside::default().with_supervisor(Supervisor::absent())).is_err());
    let (supervisor, _requests) = Supervisor::channel();
    assert!(engine(&memory, &Beside::default().with_supervisor(supervisor)).is_ok());
}
