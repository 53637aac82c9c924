//! What a rotation does, step by step, and how it is asked.

use std::time::Duration;

use keywheel_core::ErrorKind;
use keywheel_core::rotation::{Ask, Phase};

use crate::world::{Fate, World};

fn now() -> Ask {
    Ask { now: true, ..Ask::default() }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_published_when_it_is_tested_and_retires_the_old_after_the_overlap() {
    let world = World::new(true);
    let rotator = world.rotator("{every: 30d}");
    let rested = rotator.advance(&Ask::default()).await.unwrap();
    assert!(rested.published.is_none() && world.publications() == 0);
    let due_in = rested.next_at.unwrap().as_second();
    assert_eq!(due_in, 30 * 86_400);
    tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
    let done = rotator.advance(&Ask::default()).await.unwrap();
    assert_eq!(done.published.unwrap().as_str(), "2");
    assert_eq!(world.published(), ("b".into(), "made 1".into()));
    assert_eq!(world.open_accounts(), ["a", "b"]);
    let steps: Vec<String> =
        world.calls().into_iter().filter(|call| call != "look" && call != "record").collect();
    assert_eq!(steps, ["check", "set", "test", "publish"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    rotator.advance(&Ask::default()).await.unwrap();
    assert_eq!(world.open_accounts(), ["b"]);
    let next = rotator.look().await.unwrap();
    assert!(matches!(next.course.phase(), Phase::Idle) && next.course.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn there_is_a_way_back_while_the_old_one_is_valid_and_none_after() {
    let world = World::new(true);
    let rotator = world.rotator("{every: 30d}");
    rotator.advance(&now()).await.unwrap();
    let back = Ask { roll_back: true, ..Ask::default() };
    rotator.advance(&back).await.unwrap();
    assert_eq!(world.published(), ("a".into(), "first".into()));
    // Whoever has the new one already keeps it for a while.
    assert_eq!(world.open_accounts(), ["a", "b"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    rotator.advance(&Ask::default()).await.unwrap();
    assert_eq!(world.open_accounts(), ["a"]);
    let error = rotator.advance(&back).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(world.works() && world.broken().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_published_meanwhile_stays() {
    let world = World::new(true);
    let rotator = world.rotator("{every: 30d}");
    // Killed once it is tested, before it is published.
    world.appoint([Fate::Works; 10].into_iter().chain([Fate::Kills { done: false }]));
    let ask = now();
    tokio::select! {
        ended = rotator.advance(&ask) => panic!("not killed: {ended:?}; {:?}", world.calls()),
        () = world.killed() => {}
    }
    world.overwrite("c", "by hand");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let error = world.rotator("{every: 30d}").advance(&Ask::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(world.published(), ("c".into(), "by hand".into()));
    assert_eq!(world.open_accounts(), ["a", "c"], "what was made is taken back, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_and_tried_again_later_and_no_sooner() {
    let world = World::new(true);
    let rotator = world.rotator("{every: 30d}");
    let down =
        [Fate::Works, Fate::Works, Fate::Works, Fate::Works].into_iter().chain([Fate::Fails { done: false }]);
    world.appoint(down);
    let error = rotator.advance(&now()).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("step: set"), "{error}");
    let standing = rotator.look().await.unwrap();
    let trouble = standing.course.trouble().unwrap();
    assert!(trouble.count == 1 && trouble.error.contains("network"), "{trouble:?}");
    let before = world.calls().iter().filter(|call| *call == "set").count();
    rotator.advance(&Ask::default()).await.unwrap();
    assert_eq!(world.calls().iter().filter(|call| *call == "set").count(), before, "tried again at once");
    tokio::time::sleep(Duration::from_secs(61)).await;
    rotator.advance(&Ask::default()).await.unwrap();
    assert_eq!(world.publications(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_overcome_in_the_same_call_is_none() {
    let world = World::new(false);
    let rotator = world.rotator("{every: 30d}");
    let calls_to_set = 5;
    world.appoint((1..calls_to_set).map(|_| Fate::Works).chain([Fate::Fails { done: false }]));
    let done = rotator.advance(&now()).await.unwrap();
    assert_eq!(world.calls().iter().filter(|call| *call == "set").count(), 2, "{:?}", world.calls());
    assert!(done.published.is_some() && world.works());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_replicas_keeps_nobody_away() {
    let world = World::new(true);
    let patient = "overlap: 0s, acknowledge: {expect: 1, deadline: 1h}";
    let done = world.rotator_with("{every: 30d}", patient).advance(&now()).await.unwrap();
    assert!(matches!(done.standing.course.phase(), Phase::Published { .. }));
    let other = world.rotator_with("{every: 30d}", patient);
    assert_eq!(other.look().await.unwrap().held_by, None);
    assert!(!other.advance(&Ask::default()).await.unwrap().is_busy);
    assert_eq!(world.open_accounts(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn other_fields_of_the_target_stay() {
    let world = World::new(true);
    let before = world.calls().len();
    world.rotator("{every: 30d}").advance(&now()).await.unwrap();
    assert!(world.calls().len() > before);
    assert_eq!(world.target_field("port"), "5432");
}
