//! Whatever fails, is killed, or is done twice at once: what is published works, and the next run brings it to its end.

use std::time::Duration;

use keywheel_core::rotation::{Ask, Phase, Progress, Rotator};
use proptest::prelude::*;

use crate::world::{Fate, World};

const NOW: &str = "{every: 30d}";

fn now() -> Ask {
    Ask { now: true, ..Ask::default() }
}

/// Runs a rotator until it rests or is killed.
pub(crate) async fn run(world: &World, rotator: &Rotator, ask: &Ask) {
    tokio::select! {
        // What failed is written down; the next run goes on with it.
        _ = rotator.advance(ask) => {}
        () = world.killed() => {}
    }
}

/// Lets time pass and rotators run until there is nothing left to do.
async fn finish(world: &World) -> Progress {
    for _ in 0..40 {
        let rotator = world.rotator(NOW);
        if let Ok(progress) = rotator.advance(&Ask::default()).await
            && matches!(progress.standing.course.phase(), Phase::Idle)
        {
            return progress;
        }
        tokio::time::sleep(Duration::from_secs(1800)).await;
    }
    panic!("never at its end; calls: {:?}", world.calls());
}

fn check(world: &World) -> Result<(), TestCaseError> {
    prop_assert_eq!(world.broken(), None);
    prop_assert!(world.works(), "what is published does not work");
    prop_assert_eq!(world.open_accounts(), vec![world.published().0], "something was left behind");
    prop_assert!(world.record().iter().all(|field| field == "record"), "the record keeps values");
    Ok(())
}

pub(crate) fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Works),
        2 => (1u64..70).prop_map(Fate::Takes),
        3 => any::<bool>().prop_map(|done| Fate::Fails { done }),
        1 => Just(Fate::Refused),
        3 => any::<bool>().prop_map(|done| Fate::Kills { done }),
    ]
}

pub(crate) fn paused(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

/// Returns how many calls a rotation takes, up to and with the retirement.
fn calls_of_a_rotation(is_gapless: bool) -> usize {
    let mut calls = 0;
    paused(async {
        let world = World::new(is_gapless);
        run(&world, &world.rotator(NOW), &now()).await;
        finish(&world).await;
        calls = world.calls().len();
        check(&world)
    })
    .unwrap();
    calls
}

#[test]
fn a_kill_before_or_after_any_call_leaves_what_works_and_is_made_good() {
    for is_gapless in [true, false] {
        let calls = calls_of_a_rotation(is_gapless);
        assert!(calls > 10, "{calls}");
        for index in 0..calls {
            for done in [false, true] {
                paused(async {
                    let world = World::new(is_gapless);
                    let fates = (0..index).map(|_| Fate::Works).chain([Fate::Kills { done }]);
                    world.appoint(fates);
                    for _ in 0..4 {
                        run(&world, &world.rotator(NOW), &now()).await;
                        tokio::time::sleep(Duration::from_secs(90)).await;
                    }
                    finish(&world).await;
                    check(&world)
                })
                .unwrap_or_else(|error| {
                    panic!("killed at call {index} ({done}, gapless: {is_gapless}): {error}")
                });
            }
        }
    }
}

#[test]
fn a_refusal_at_any_call_publishes_nothing_untested_and_leaves_nothing_behind() {
    for is_gapless in [true, false] {
        for index in 0..calls_of_a_rotation(is_gapless) {
            paused(async {
                let world = World::new(is_gapless);
                world.appoint((0..index).map(|_| Fate::Works).chain([Fate::Refused]));
                run(&world, &world.rotator(NOW), &now()).await;
                finish(&world).await;
                check(&world)
            })
            .unwrap_or_else(|error| panic!("refused at call {index} (gapless: {is_gapless}): {error}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_ends_well(
        is_gapless: bool,
        fates in prop::collection::vec(fate(), 0..80),
        runs in prop::collection::vec((any::<bool>(), 0u64..400), 1..12),
    ) {
        paused(async {
            let world = World::new(is_gapless);
            world.appoint(fates);
            for (asked, pause) in runs {
                let ask = Ask { now: asked, ..Ask::default() };
                run(&world, &world.rotator(NOW), &ask).await;
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            world.appoint([]);
            finish(&world).await;
            check(&world)
        })?;
    }

    #[test]
    fn one_that_stands_still_does_no_harm_to_who_goes_on(
        is_gapless: bool,
        fates in prop::collection::vec(
            prop_oneof![
                6 => Just(Fate::Works),
                2 => (40u64..400).prop_map(Fate::Takes),
                1 => any::<bool>().prop_map(|done| Fate::Fails { done }),
            ],
            0..60,
        ),
        pauses in prop::collection::vec(0u64..150, 2..8),
    ) {
        paused(async {
            let world = World::new(is_gapless);
            world.appoint(fates);
            let rotators: Vec<_> = pauses.iter().map(|_| world.rotator(NOW)).collect();
            let runs = rotators.iter().zip(&pauses).map(|(rotator, pause)| async {
                tokio::time::sleep(Duration::from_secs(*pause)).await;
                // Others are at it, or what failed is written down.
                rotator.advance(&now()).await.ok();
            });
            futures_util::future::join_all(runs).await;
            world.appoint([]);
            finish(&world).await;
            check(&world)
        })?;
    }

    #[test]
    fn two_at_once_do_no_harm_and_rotate_once(
        is_gapless: bool,
        fates in prop::collection::vec((0u64..3).prop_map(Fate::Takes), 0..60),
        head_start in 0u64..20,
    ) {
        paused(async {
            let world = World::new(is_gapless);
            world.appoint(fates);
            // Due by the schedule: thirty days have passed.
            tokio::time::sleep(Duration::from_secs(31 * 86_400)).await;
            let (one, other) = (world.rotator(NOW), world.rotator(NOW));
            let later = async {
                tokio::time::sleep(Duration::from_secs(head_start)).await;
                other.advance(&Ask::default()).await
            };
            let (by_one, by_other) = tokio::join!(async { one.advance(&Ask::default()).await }, later);
            prop_assert!(by_one.is_ok() || by_other.is_ok());
            finish(&world).await;
            prop_assert_eq!(world.publications(), 1);
            check(&world)
        })?;
    }
}
