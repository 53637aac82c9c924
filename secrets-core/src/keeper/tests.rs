use super::keepers::SETTLE;
use super::steps::Waiting;
use super::*;
use crate::config::ProviderConfig;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind};
use crate::memory::{Lending, Memory};
use crate::registry::Kind;
use crate::state::State;

const REFRESH: Duration = Duration::from_secs(10);
const PACE: Pace = Pace { refresh: REFRESH, overlap: Duration::ZERO };

struct Run {
    memory: Memory,
    handle: KeeperHandle,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinSet<Vec<Lease>>,
}

fn run(memory: &Memory) -> Run {
    run_with(memory, &State::in_memory(), PACE)
}

fn run_with(memory: &Memory, state: &State, pace: Pace) -> Run {
    let client = client([("memory", memory)], state);
    let mut keepers = Keepers::new(&clock());
    let handle = keepers.keep(&client, &"memory://a".parse().unwrap(), pace, state).unwrap();
    let mut task = tokio::task::JoinSet::new();
    let (stop, stopped) = watch::channel(false);
    task.spawn(keepers.run(stopped));
    Run { memory: memory.clone(), handle, stop, task }
}

fn client<const N: usize>(sources: [(&str, &Memory); N], state: &State) -> Client {
    let provider = |(name, memory): (&str, &Memory)| {
        let blueprint = memory.configure_from(&Environment::default()).unwrap();
        (name.to_owned(), ProviderConfig::new(blueprint))
    };
    Client::build(&sources.map(provider).into(), &clock(), state).unwrap()
}

async fn version_after(run: &Run, wait: Duration) -> Option<String> {
    tokio::time::sleep(wait).await;
    run.handle.kept().secret.map(|secret| secret.version().to_string())
}

/// All clocks of one test tell the same time: a keeper that comes later finds what an earlier one wrote.
fn clock() -> Clock {
    thread_local!(static CLOCK: std::cell::RefCell<Option<Clock>> = const { std::cell::RefCell::new(None) });
    CLOCK.with_borrow_mut(|clock| clock.get_or_insert_with(|| Clock::paused(Timestamp::UNIX_EPOCH)).clone())
}

fn down(kind: ErrorKind) -> Error {
    Error::new(kind, "read", "the source is down")
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_the_interval_and_a_hint_at_once() {
    let memory = Memory::new();
    memory.set("a", [("k", "1")]);
    let polled = run(&memory.clone().without_hints());
    let told = run(&memory);
    assert_eq!(version_after(&polled, Duration::from_millis(1)).await.as_deref(), Some("1"));
    memory.set("a", [("k", "2")]);
    assert_eq!(version_after(&told, SETTLE * 2).await.as_deref(), Some("2"));
    assert_eq!(version_after(&polled, Duration::ZERO).await.as_deref(), Some("1"));
    assert_eq!(version_after(&polled, REFRESH).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn it_is_quiet_once_several_that_were_asked_at_once_have_answered() {
    let memory = Memory::new().without_hints();
    for path in ["a", "b", "c"] {
        memory.set(path, [("k", "1")]);
    }
    for (paths, is_told) in [(&["a"][..], false), (&["a", "b", "c"], true)] {
        let state = State::in_memory();
        let client = client([("memory", &memory)], &state);
        let mut keepers = Keepers::new(&clock());
        let mut keep =
            |path| keepers.keep(&client, &format!("memory://{path}").parse().unwrap(), PACE, &state);
        let handles: Vec<_> = paths.iter().map(|path| keep(path).unwrap()).collect();
        let quiet = keepers.quiet();
        let (_stop, stopped) = watch::channel(false);
        let mut running = tokio::task::JoinSet::new();
        running.spawn(keepers.run(stopped));
        for _round in 0..3 {
            crate::engine::refresh_all(&handles, REFRESH).await;
            let told = tokio::time::timeout(Duration::from_millis(10), quiet.notified()).await;
            assert_eq!(told.is_ok(), is_told, "{paths:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_the_last_good_value_and_recovers_by_itself() {
    let memory = Memory::new().without_hints();
    memory.set("a", [("k", "1")]);
    let run = run(&memory);
    assert_eq!(version_after(&run, Duration::from_millis(1)).await.as_deref(), Some("1"));
    run.memory.fail_until_cleared(down(ErrorKind::Unavailable));
    assert_eq!(version_after(&run, Duration::from_secs(3600)).await.as_deref(), Some("1"));
    let kept = run.handle.kept();
    assert!(kept.failures > 10 && kept.error.unwrap().to_string().contains("memory://a"));
    run.memory.clear_faults();
    run.memory.set("a", [("k", "2")]);
    assert_eq!(version_after(&run, schedule::LONGEST_TEMPORARY).await.as_deref(), Some("2"));
    assert_eq!(run.handle.kept().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_settles_at_a_slow_pace() {
    let memory = Memory::new().without_hints();
    memory.fail_until_cleared(down(ErrorKind::PermissionDenied));
    let run = run(&memory);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let failures = run.handle.kept().failures;
    assert!((60..130).contains(&failures), "{failures} requests in an hour");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_once_is_tried_until_it_is_there_and_then_left_alone() {
    let memory = Memory::new().without_hints();
    memory.set("a", [("k", "1")]);
    memory.fail_until_cleared(down(ErrorKind::PermissionDenied));
    let pace = Pace { refresh: SecretConfig::NEVER, ..PACE };
    let run = run_with(&memory, &State::in_memory(), pace);
    assert_eq!(version_after(&run, Duration::from_secs(3600)).await, None);
    assert!(run.handle.kept().failures > 1);
    memory.clear_faults();
    assert_eq!(version_after(&run, schedule::PERMANENT_PACE).await.as_deref(), Some("1"));
    memory.set("a", [("k", "2")]);
    memory.fail_until_cleared(down(ErrorKind::Unavailable));
    assert_eq!(version_after(&run, Duration::from_secs(3 * 365 * 86_400)).await.as_deref(), Some("1"));
    assert_eq!(run.handle.kept().failures, 0, "nobody asked");
    memory.clear_faults();
    run.handle.refresh(Duration::from_secs(1)).await;
    assert_eq!(version_after(&run, Duration::ZERO).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_gets_an_answer_from_the_source() {
    let memory = Memory::new().without_hints();
    memory.set("a", [("k", "1")]);
    let run = run(&memory);
    assert_eq!(version_after(&run, Duration::from_millis(1)).await.as_deref(), Some("1"));
    memory.set("a", [("k", "2")]);
    run.handle.refresh(Duration::from_secs(1)).await;
    assert_eq!(run.handle.kept().secret.unwrap().version().as_str(), "2");
}

const SECOND: Duration = Duration::from_secs(1);

/// The leases of PostgreSQL roles in a hurry: six seconds, twenty in all.
const SHORT: Lending =
    Lending { ttl: Duration::from_secs(6), max_ttl: Duration::from_secs(20), renewable: true };

fn lent(lending: Lending) -> Memory {
    let memory = Memory::new().without_hints();
    memory.lend("a", lending);
    memory
}

/// Looks every tenth of a second at whether the value that is handed out is good, for `span`.
async fn stays_good(run: &Run, span: Duration) {
    let clock = clock();
    let end = clock.instant() + span;
    while clock.instant() < end {
        tokio::time::sleep(SECOND / 10).await;
        let kept = run.handle.kept();
        let lease = kept.upkeep.as_ref().and_then(Upkeep::lease).expect("a lease");
        let good = run.memory.loans().live.get(&lease.id).is_some_and(|end| *end > clock.now());
        assert!(good, "{} has ended at {}", lease.id, clock.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_never_lapses_and_costs_no_more_values_than_its_longest_life_forces() {
    let memory = lent(SHORT);
    let run = run(&memory);
    tokio::time::sleep(SECOND / 10).await;
    stays_good(&run, 300 * SECOND).await;
    let loans = memory.loans();
    assert!((15..=16).contains(&loans.minted), "{} values in 300 s of 20 s each", loans.minted);
    // Six seconds are extended after 3.6 at the soonest: five times in twenty.
    assert!(loans.renewed >= 40 && loans.renewed <= 5 * loans.minted, "{loans:?}");
    // Nobody holds the secret here: what was replaced is given back at once.
    assert_eq!(loans.revoked.len(), loans.minted - 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_does_not_move_the_end_is_the_last_one() {
    // The grant that reaches the end of all renewals is nearly whole, so that another one is tried.
    let memory = lent(Lending { max_ttl: Duration::from_millis(13_500), ..SHORT });
    let run = run(&memory);
    tokio::time::sleep(SECOND / 10).await;
    stays_good(&run, 300 * SECOND).await;
    let loans = memory.loans();
    assert!(loans.renewed <= 4 * loans.minted, "{loans:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_replaced_in_time() {
    let memory = lent(Lending { renewable: false, ..SHORT });
    let run = run(&memory);
    tokio::time::sleep(SECOND / 10).await;
    stays_good(&run, 120 * SECOND).await;
    assert!((20..=26).contains(&memory.loans().minted), "{:?}", memory.loans());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_ended_behind_our_back_is_replaced_within_the_interval() {
    let memory = lent(Lending { ttl: 3600 * SECOND, max_ttl: 7200 * SECOND, renewable: true });
    let run = run(&memory);
    assert_eq!(version_after(&run, SECOND).await.as_deref(), Some("1"));
    memory.end_lease("a/1");
    assert_eq!(version_after(&run, REFRESH).await.as_deref(), Some("2"));
    assert_eq!(memory.loans().minted, 2);
}

#[tokio::test(start_paused = true)]
async fn asking_now_looks_at_the_lease_and_makes_no_new_value() {
    let memory = lent(Lending { ttl: 3600 * SECOND, max_ttl: 7200 * SECOND, renewable: true });
    let run = run(&memory);
    tokio::time::sleep(SECOND).await;
    for _ in 0..10 {
        run.handle.refresh(SECOND).await;
    }
    let loans = memory.loans();
    assert_eq!((loans.minted, loans.looked_up), (1, 10));
}

#[tokio::test(start_paused = true)]
async fn another_login_has_the_value_made_anew_and_the_old_lease_stays_while_it_is_used() {
    let memory = lent(Lending { ttl: 3600 * SECOND, max_ttl: 7200 * SECOND, renewable: true });
    let run = run(&memory);
    let holds = [run.handle.hold(), run.handle.hold()];
    tokio::time::sleep(SECOND).await;
    memory.supersede_login();
    assert_eq!(version_after(&run, SECOND).await.as_deref(), Some("2"));
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(memory.loans().live.len(), 2, "somebody may still use the old one");
    holds[0].confirm(2);
    tokio::time::sleep(SECOND).await;
    assert_eq!(memory.loans().revoked, [""; 0]);
    holds[1].confirm(2);
    tokio::time::sleep(SECOND).await;
    assert_eq!((memory.loans().revoked, memory.loans().minted), (vec!["a/1".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_do_not_mint_in_a_loop() {
    let memory = lent(SHORT);
    let run = run(&memory);
    tokio::time::sleep(SECOND).await;
    memory.fail_until_cleared(down(ErrorKind::Unavailable));
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(memory.loans().minted, 1);
    let (attempts, kept) = (memory.reads(), run.handle.kept());
    assert!(attempts < 300, "{attempts} attempts to mint in an hour");
    assert!(kept.secret.is_some() && kept.failures > 10, "the last value stays: {kept:?}");
    memory.clear_faults();
    tokio::time::sleep(schedule::LONGEST_TEMPORARY).await;
    stays_good(&run, 30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_what_is_left_costs_nothing() {
    let memory = lent(Lending { ttl: 60 * SECOND, max_ttl: 3600 * SECOND, renewable: true });
    let run = run(&memory);
    tokio::time::sleep(45 * SECOND).await;
    memory.fail_until_cleared(down(ErrorKind::Unavailable));
    tokio::time::sleep(12 * SECOND).await;
    memory.clear_faults();
    stays_good(&run, 120 * SECOND).await;
    assert_eq!(memory.loans().minted, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_next_goes_on_with_the_same_value() {
    let memory = lent(SHORT);
    let state = State::in_memory();
    let (mut minted, mut versions) = (0, Vec::new());
    for _ in 0..20 {
        let run = run_with(&memory, &state, PACE);
        versions.extend(version_after(&run, SECOND / 2).await);
        minted = memory.loans().minted;
    }
    assert_eq!((minted, versions), (1, vec!["1".to_owned(); 20]));
    // The value's end comes while nobody is there.
    tokio::time::sleep(20 * SECOND).await;
    let run = run_with(&memory, &state, PACE);
    assert_eq!(version_after(&run, SECOND / 2).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_value_whose_lease_has_ended_is_replaced_at_once() {
    let memory = lent(Lending { ttl: 3600 * SECOND, max_ttl: 7200 * SECOND, renewable: true });
    let state = State::in_memory();
    drop(version_after(&run_with(&memory, &state, PACE), SECOND).await);
    memory.end_lease("a/1");
    let run = run_with(&memory, &state, PACE);
    assert_eq!(version_after(&run, SECOND / 10).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_holds_up_nothing_of_another() {
    let (hangs, works) = (Memory::new(), Memory::new());
    hangs.answer_after(3600 * SECOND);
    let (state, mut keepers) = (State::in_memory(), Keepers::new(&clock()));
    let client = client([("hangs", &hangs), ("works", &works)], &state);
    let mut handles = Vec::new();
    for index in 0..Waiting::<()>::AT_ONCE + 1 {
        works.set(&index.to_string(), [("k", "1")]);
        for name in ["hangs", "works"] {
            let reference = format!("{name}://{index}").parse().unwrap();
            handles.push(keepers.keep(&client, &reference, PACE, &state).unwrap());
        }
    }
    let (_stop, stopped) = watch::channel(false);
    let mut task = tokio::task::JoinSet::new();
    task.spawn(keepers.run(stopped));
    tokio::time::sleep(SECOND).await;
    for handle in &handles {
        assert_eq!(handle.revision() > 0, handle.reference().provider() == "works", "{}", handle.reference());
    }
    assert_eq!(hangs.reads(), Waiting::<()>::AT_ONCE, "the others wait for their turn");
    works.set("100", [("k", "2")]);
    tokio::time::sleep(SETTLE * 2).await;
    assert_eq!(handles.last().unwrap().revision(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_the_source_is_asked_gets_an_answer_to_a_later_question() {
    let memory = Memory::new().without_hints();
    memory.set("a", [("k", "1")]);
    memory.answer_after(SECOND);
    let (run, clock) = (run(&memory), clock());
    tokio::time::sleep(SECOND / 2).await;
    let begun = clock.instant();
    run.handle.refresh(10 * SECOND).await;
    assert_eq!((clock.instant() - begun).as_millis() / 100, 15, "the first answer was on its way before");
    assert_eq!((memory.reads(), memory.version_checks()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_step_under_way_comes_to_its_end_and_its_lease_is_not_lost() {
    let memory = lent(SHORT);
    memory.answer_after(SECOND);
    let mut run = run(&memory);
    tokio::time::sleep(SECOND / 2).await;
    run.stop.send_replace(true);
    let left = run.task.join_next().await.unwrap().unwrap();
    assert_eq!(left.iter().map(|lease| lease.id.as_str()).collect::<Vec<_>>(), ["a/1"]);
    assert!(run.handle.next().await && !run.handle.next().await, "a value, and then nothing more");
}

#[test]
fn a_keeper_at_rest_takes_little_room() {
    let (own, shared) = (std::mem::size_of::<Keeper>(), std::mem::size_of::<Shared>());
    assert!(own <= 192 && shared <= 320, "{own} and {shared} bytes");
}
