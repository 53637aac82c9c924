use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn at(after: f64) -> Timestamp {
    later(START, seconds(after))
}

fn leased(term: Term) -> Upkeep {
    Upkeep::Lease(Box::new(Lease { id: "database/creds/orders/x".into(), holder: "h".into(), term }))
}

fn first(ttl: f64, renewable: bool) -> Upkeep {
    leased(Term::granted(START, seconds(ttl), renewable))
}

/// A lease of `ttl` whose renewal at `asked` granted `rest`.
fn renewed(ttl: f64, asked: f64, rest: f64) -> Upkeep {
    leased(Term::granted(START, seconds(ttl), true).renewed(at(asked), seconds(rest), true))
}

/// Nothing is polled, nothing has failed, and chance adds nothing.
fn standing(upkeep: &Upkeep) -> Standing<'_> {
    Standing {
        upkeep,
        parent: None,
        is_lost: false,
        can_look_up: false,
        asked_at: START,
        refresh_at: at(30.0),
        retry_at: None,
        overlap: Duration::ZERO,
        unit: 0.0,
    }
}

fn due(standing: &Standing<'_>, now: f64) -> Option<(Step, f64)> {
    let (step, at) = standing.next(at(now))?;
    Some((step, until(START, at).as_secs_f64()))
}

#[test]
fn every_kind_of_secret_has_its_next_step() {
    use Step::{Ask, Renew, Replace};
    let hour = 3600.0;
    let expiry = Upkeep::Expiry { began_at: START, ends_at: at(86_400.0) };
    let turn = |moment, period| Upkeep::Turn { at: at(moment), period: seconds(period) };
    let poll = Upkeep::Poll { ends_at: Some(at(9.0)) };
    for (name, upkeep, expected) in [
        ("static value", poll, Some((Ask, 30.0))),
        ("renewable lease", first(hour, true), Some((Renew, 2400.0))),
        ("lease that is not renewable", first(hour, false), Some((Replace, 3420.0))),
        ("lease without an end", first(0.0, true), None),
        ("renewed in full (periodic)", renewed(hour, 2400.0, hour), Some((Renew, 4800.0))),
        ("renewed, a second short of it by rounding", renewed(hour, 2400.0, 3599.0), Some((Renew, 4799.3))),
        ("near max_ttl: 20 s in all", renewed(6.0, 16.0, 4.0), Some((Replace, 19.0))),
        ("at max_ttl: nothing is left", renewed(6.0, 16.0, 0.0), Some((Replace, 15.0))),
        ("two seconds", first(2.0, true), Some((Renew, 1.0))),
        ("one second that is not renewable", first(1.0, false), Some((Replace, 2.0 / 3.0))),
        ("certificate of a day", expiry, Some((Replace, 57_600.0))),
        ("static role, turns in five seconds", turn(5.0, 5.0), Some((Ask, 5.0))),
        ("static role, turns tomorrow", turn(86_400.0, 86_400.0), Some((Ask, 30.0))),
        ("read once", Upkeep::Once, Some((Ask, 30.0))),
    ] {
        let found = due(&standing(&upkeep), 0.0);
        let near = match (found, expected) {
            (Some((step, at)), Some((wanted, then))) => step == wanted && (at - then).abs() < 0.05,
            (found, expected) => found == expected,
        };
        assert!(near, "{name}: {found:?}, not {expected:?}");
    }
}

#[test]
fn the_login_that_a_lease_was_made_with_counts() {
    let upkeep = first(3600.0, true);
    let with = |parent| Standing { parent: Some(parent), ..standing(&upkeep) };
    // Its session sees to it that the token is renewed or superseded in time; until then a new lease would end no later.
    let ending = Parent { ends_at: Some(at(60.0)), superseded: false };
    assert_eq!(due(&with(ending), 0.0), Some((Step::Renew, 2400.0)));
    let superseded = Parent { superseded: true, ..ending };
    assert_eq!(due(&with(superseded), 7.0), Some((Step::Replace, 7.0)));
    assert_eq!(upkeep.deadline(Some(ending)), Some(at(60.0)));
    assert_eq!(upkeep.deadline(None), Some(at(3600.0)));
}

#[test]
fn a_lease_is_looked_up_at_the_interval_where_the_source_allows_it() {
    let upkeep = first(3600.0, true);
    let looking = Standing { can_look_up: true, ..standing(&upkeep) };
    assert_eq!(due(&looking, 0.0), Some((Step::LookUp, 30.0)));
    // Somebody shortened it at the source to ten seconds.
    let term = Term::granted(START, seconds(3600.0), true).looked_up(at(30.0), seconds(10.0));
    let shortened = leased(term);
    let (step, due) = due(&Standing { refresh_at: at(60.0), ..standing(&shortened) }, 30.0).unwrap();
    assert!(step == Step::Renew && (36.0..37.0).contains(&due), "{step:?} {due}");
}

#[test]
fn a_lost_lease_is_replaced_at_once_but_not_before_its_retry() {
    let upkeep = first(3600.0, true);
    let lost = Standing { is_lost: true, ..standing(&upkeep) };
    assert_eq!(due(&lost, 3.0), Some((Step::Replace, 3.0)));
    assert_eq!(due(&Standing { retry_at: Some(at(9.0)), ..lost }, 3.0), Some((Step::Replace, 9.0)));
}

#[test]
fn renewals_that_fail_until_the_grace_give_way_to_a_replacement() {
    let upkeep = first(3600.0, true);
    let failing = Standing { retry_at: Some(at(3500.0)), ..standing(&upkeep) };
    assert_eq!(due(&failing, 3000.0), Some((Step::Replace, 3500.0)));
    let failing = Standing { retry_at: Some(at(3300.0)), ..standing(&upkeep) };
    assert_eq!(due(&failing, 3000.0), Some((Step::Renew, 3300.0)));
}

#[test]
fn a_value_that_is_due_to_turn_is_asked_for_at_short_intervals_that_grow() {
    let upkeep = Upkeep::Turn { at: at(5.0), period: seconds(5.0) };
    let asked = |asked_at, now| {
        let (step, next) = due(
            &Standing { asked_at: at(asked_at), refresh_at: at(asked_at + 30.0), ..standing(&upkeep) },
            now,
        )
        .unwrap();
        assert_eq!(step, Step::Ask);
        ((next - asked_at) * 1000.0).round() / 1000.0
    };
    assert_eq!(asked(5.0, 5.0), 0.05);
    assert_eq!(asked(9.0, 9.0), 0.05);
    assert_eq!(asked(25.0, 25.0), 2.0);
    assert_eq!(asked(2000.0, 2000.0), 30.0);
}

#[test]
fn an_overlap_brings_a_replacement_forward_within_bounds() {
    assert_eq!(lead(seconds(3600.0), Duration::ZERO, 0.0), seconds(180.0));
    assert_eq!(lead(seconds(3600.0), seconds(600.0), 0.0), seconds(600.0));
    assert_eq!(lead(seconds(60.0), seconds(600.0), 0.0), seconds(20.0));
    assert_eq!(lead(seconds(20.0), Duration::ZERO, 0.0), seconds(1.0));
}

proptest! {
    #[test]
    fn a_lease_is_replaced_before_its_end_and_not_before_the_grace(
        ttl in 1u64..10_000_000, granted in 0u64..10_000, overlap in 0u64..10_000, unit in 0.0..1.0f64, renewable: bool,
        short in proptest::option::of(1u64..10_000_000),
    ) {
        let (ttl, granted_at) = (Duration::from_secs(ttl), later(START, Duration::from_secs(granted)));
        let term = Term::granted(START, ttl, renewable);
        let term = match short {
            Some(rest) => term.renewed(granted_at, Duration::from_secs(rest).min(ttl), renewable),
            None => term,
        };
        let upkeep = leased(term);
        let overlap = Duration::from_secs(overlap);
        let standing = Standing { overlap, unit, ..standing(&upkeep) };
        let (step, at) = standing.next(START).unwrap();
        let (end, life) = (term.ends_at().unwrap(), term.life());
        prop_assert!(at < end, "{step:?} at {at}, after the end at {end}");
        match step {
            Step::Replace => {
                let left = until(at, end);
                let grace = life.mul_f64(0.0576).max(Duration::from_millis(1001)).max(overlap).min(life / 3);
                prop_assert!(left <= grace + Duration::from_millis(1), "{left:?} of {life:?}");
                prop_assert!(left >= lead(life, Duration::ZERO, 0.0).min(life / 3) - Duration::from_millis(1));
            }
            Step::Renew => {
                prop_assert!(term.renewable && !term.is_short);
                let after = until(term.granted_at, at);
                prop_assert!(after <= term.ttl.mul_f64(0.667), "{after:?} of {:?}", term.ttl);
                prop_assert!(after >= term.ttl.mul_f64(0.59).min(term.ttl.saturating_sub(ROUNDING)));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_certificate_is_renewed_between_sixty_and_sixty_seven_parts_of_a_hundred(
        life in 1u64..100_000_000, unit in 0.0..1.0f64,
    ) {
        let upkeep = Upkeep::Expiry { began_at: START, ends_at: later(START, Duration::from_secs(life)) };
        let (step, at) = Standing { unit, ..standing(&upkeep) }.next(START).unwrap();
        let part = until(START, at).as_secs_f64() / Duration::from_secs(life).as_secs_f64();
        prop_assert!(step == Step::Replace && (0.5999..0.6671).contains(&part), "{part}");
    }

    #[test]
    fn nothing_is_due_before_its_retry_nor_in_the_past(
        ttl in 0u64..1000, now in 0u64..5000, retry in proptest::option::of(0u64..9000), unit in 0.0..1.0f64,
        lost: bool, looks: bool, superseded: bool, kind in 0usize..5,
    ) {
        let upkeep = match kind {
            0 => Upkeep::Poll { ends_at: None },
            1 => Upkeep::Turn { at: later(START, Duration::from_secs(ttl)), period: Duration::from_secs(ttl) },
            2 => Upkeep::Expiry { began_at: START, ends_at: later(START, Duration::from_secs(ttl)) },
            3 => leased(Term::granted(START, Duration::from_secs(ttl), true)),
            _ => leased(Term::granted(START, Duration::from_secs(ttl), false)),
        };
        let now = later(START, Duration::from_secs(now));
        let retry_at = retry.map(|retry| later(START, Duration::from_secs(retry)));
        let parent = Some(Parent { ends_at: None, superseded });
        let standing = Standing { parent, is_lost: lost, can_look_up: looks, retry_at, unit, ..standing(&upkeep) };
        if let Some((_, at)) = standing.next(now) {
            prop_assert!(at >= now && retry_at.is_none_or(|retry_at| at >= retry_at));
        }
    }
}
