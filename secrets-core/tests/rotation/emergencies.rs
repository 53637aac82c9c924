//! What leaked is replaced, and given no time, whatever is under way when that is known.

use std::time::Duration;

use keywheel_core::rotation::{Ask, Phase, Rotator, Server};
use proptest::prelude::*;

use crate::kills::{fate, paused, run};
use crate::world::{Fate, World};

const NOT_DUE: &str = "{every: 30d, paused: true}";
const MINUTE: Duration = Duration::from_secs(60);

fn now() -> Ask {
    Ask { now: true, ..Ask::default() }
}

fn leaked() -> Ask {
    Ask { revoke_old: true, ..now() }
}

async fn phase(rotator: &Rotator) -> &'static str {
    rotator.look().await.unwrap().course.phase().as_str()
}

#[tokio::test(start_paused = true)]
async fn a_leaked_value_gets_no_overlap() {
    let world = World::new(true);
    let rotator = world.rotator(NOT_DUE);
    rotator.advance(&leaked()).await.unwrap();
    assert_eq!(world.open_accounts(), ["b"]);
    // Also the one that a rotation before left for its overlap.
    rotator.advance(&now()).await.unwrap();
    assert_eq!(world.open_accounts(), ["a", "b"]);
    rotator.advance(&leaked()).await.unwrap();
    assert_eq!(world.open_accounts(), ["b"]);
    assert!(world.works() && world.broken().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_waits_half_done_is_finished_as_an_emergency() {
    for (step, waits_as) in [("set", "created"), ("test", "set"), ("publish", "tested")] {
        let world = World::new(true);
        let rotator = world.rotator(NOT_DUE);
        world.break_down(step);
        rotator.advance(&now()).await.unwrap_err();
        world.mend();
        assert_eq!(phase(&rotator).await, waits_as);
        // Another one, as after a crash; the hold of the first has ended.
        let other = world.rotator(NOT_DUE);
        let done = other.advance(&leaked()).await.unwrap();
        assert!(done.published.is_some() && world.publications() == 1, "{step}");
        assert_eq!((world.open_accounts(), phase(&other).await), (vec!["b".to_owned()], "idle"), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_value_of_a_rotation_that_was_rolled_back_gets_more_time() {
    for is_stuck in [false, true] {
        let world = World::new(true);
        let rotator = world.rotator(NOT_DUE);
        rotator.advance(&now()).await.unwrap();
        let back = Ask { roll_back: true, ..Ask::default() };
        if is_stuck {
            world.break_down("publish");
            rotator.advance(&back).await.unwrap_err();
            world.mend();
        } else {
            rotator.advance(&back).await.unwrap();
        }
        assert_eq!(phase(&rotator).await, if is_stuck { "rolling back" } else { "undoing" });
        rotator.advance(&leaked()).await.unwrap();
        assert_eq!(world.published(), ("b".into(), "made 2".into()));
        assert_eq!(world.open_accounts(), ["b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_incident_makes_one_rotation_however_it_stumbles() {
    for step in ["set", "test", "publish", "retire"] {
        let world = World::new(true);
        let server = Server::new(vec![world.rotator(NOT_DUE)], &world.clock());
        let handle = server.handle();
        handle.revoke("orders", "leaked".into());
        world.break_down(step);
        let mended = async {
            tokio::time::sleep(10 * MINUTE).await;
            world.mend();
        };
        tokio::join!(server.run(tokio::time::sleep(180 * MINUTE)), mended);
        assert_eq!((world.publications(), handle.looks()[0].published), (1, 1), "{step}");
        assert_eq!(world.open_accounts(), ["b"], "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_emergency_asks_no_replica() {
    let world = World::new(true);
    let rotator = world.rotator_with(NOT_DUE, "overlap: 60s, acknowledge: {expect: 1, deadline: 1h}");
    world.break_down("listen");
    rotator.advance(&now()).await.unwrap_err();
    assert_eq!(world.publications(), 0);
    let heard = || world.calls().iter().filter(|call| *call == "listen").count();
    let before = heard();
    rotator.advance(&leaked()).await.unwrap();
    assert_eq!((world.open_accounts(), heard()), (vec!["b".to_owned()], before));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_under_way_one_value_is_left(
        is_gapless: bool,
        fates in prop::collection::vec(fate(), 0..60),
        runs in prop::collection::vec((0u8..3, 0u64..100), 1..6),
    ) {
        paused(async {
            let world = World::new(is_gapless);
            world.appoint(fates);
            for (asked, pause) in runs {
                let ask = Ask { now: asked == 1, roll_back: asked == 2, ..Ask::default() };
                run(&world, &world.rotator(NOT_DUE), &ask).await;
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            world.appoint([Fate::Works; 0]);
            let rotator = world.rotator(NOT_DUE);
            for _ in 0..10 {
                let progress = rotator.advance(&leaked()).await;
                if progress.is_ok_and(|progress| progress.published.is_some()) {
                    prop_assert!(matches!(rotator.look().await.unwrap().course.phase(), Phase::Idle));
                    prop_assert_eq!(world.open_accounts(), vec![world.published().0]);
                    prop_assert!(world.works() && world.broken().is_none());
                    return Ok(());
                }
                tokio::time::sleep(MINUTE).await;
            }
            Err(TestCaseError::fail("never published"))
        })?;
    }
}
