use proptest::prelude::*;

use super::*;

const GRACE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn life(policy: Policy) -> Life {
    Life::new(Rules { policy, grace: GRACE, stop_signal: Signal::TERM })
}

fn running(policy: Policy) -> (Life, Instant) {
    let (mut life, now) = (life(policy), Instant::now());
    assert_eq!(life.ready(now), Some(Act::Start));
    (life, now)
}

#[tokio::test(start_paused = true)]
async fn a_command_that_ends_ends_the_program_with_its_code() {
    let (mut life, now) = running(Policy::Never);
    assert_eq!(life.ended(Outcome::Exited(7), true, now, 0.0), None);
    assert_eq!(life.is_over(), Some(7), "whatever it left behind");
    let (mut life, now) = running(Policy::OnFailure);
    assert_eq!(life.ended(Outcome::Exited(0), false, now, 0.0), None);
    assert_eq!(life.is_over(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_forwarded_then_forced() {
    let (mut life, now) = running(Policy::Always);
    assert_eq!(life.signalled(Signal::INT, now), Some(Act::Stop(Signal::INT)));
    assert_eq!(life.tick(now + GRACE - SECOND), None);
    assert_eq!(life.tick(now + GRACE), Some(Act::Kill));
    assert_eq!(life.ended(Outcome::Killed(9), false, now + GRACE, 0.0), None);
    assert_eq!(life.is_over(), Some(137));
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_kills_and_an_echo_of_the_first_does_not() {
    let (mut life, now) = running(Policy::Never);
    life.signalled(Signal::TERM, now);
    assert_eq!(life.signalled(Signal::TERM, now + SECOND_THOUGHT / 2), None);
    assert_eq!(life.signalled(Signal::INT, now + SECOND), Some(Act::Kill));
}

#[tokio::test(start_paused = true)]
async fn other_signals_are_forwarded_and_end_nothing() {
    let (mut life, now) = running(Policy::Never);
    assert_eq!(life.signalled(Signal::HUP, now), Some(Act::Send(Signal::HUP)));
    assert_eq!(life.signalled(Signal::USR1, now), Some(Act::Send(Signal::USR1)));
    assert_eq!((life.is_over(), life.wake_at()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_start_ends_the_program() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let mut life = life(Policy::Always);
        assert_eq!(life.signalled(Signal::USR1, Instant::now()), None);
        assert_eq!(life.is_over(), None);
        assert_eq!(life.signalled(signal, Instant::now()), None);
        assert_eq!(life.is_over(), Some(code));
        assert_eq!(life.ready(Instant::now()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_whole_group() {
    let (mut life, now) = running(Policy::Never);
    life.signalled(Signal::TERM, now);
    assert_eq!(life.ended(Outcome::Exited(3), true, now, 0.0), None);
    assert!(life.awaits_rest() && life.is_over().is_none());
    assert_eq!(life.tick(now + GRACE), Some(Act::Kill));
    assert_eq!(life.gone(now + GRACE), None);
    assert_eq!(life.is_over(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_killed_is_left_behind() {
    let (mut life, now) = running(Policy::Never);
    life.signalled(Signal::TERM, now);
    assert_eq!(life.tick(now + GRACE), Some(Act::Kill));
    assert_eq!(life.tick(now + GRACE + GIVEN_UP_AFTER), None);
    assert_eq!(life.is_over(), Some(137));
}

#[tokio::test(start_paused = true)]
async fn restarts_come_one_at_a_time() {
    let (mut life, now) = running(Policy::Never);
    assert_eq!(life.restart(Some(SECOND), now), (Restart::Underway, Some(Act::Stop(Signal::TERM))));
    assert_eq!(life.restart(None, now), (Restart::Underway, None));
    assert_eq!(life.tick(now + SECOND), Some(Act::Kill));
    assert_eq!(life.ended(Outcome::Killed(9), false, now + SECOND, 0.0), Some(Act::Start));
    assert_eq!(life.ended(Outcome::Exited(1), false, now + SECOND, 0.0), None);
    assert_eq!(life.is_over(), Some(1), "a restart is no policy");
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_restart_ends_the_program_and_refuses_others() {
    let (mut life, now) = running(Policy::Always);
    life.restart(None, now);
    assert_eq!(life.signalled(Signal::TERM, now), Some(Act::Stop(Signal::TERM)));
    assert_eq!(life.restart(None, now), (Restart::Refused, None));
    assert_eq!(life.ended(Outcome::Killed(15), false, now, 0.0), None);
    assert_eq!(life.is_over(), Some(143));
}

#[tokio::test(start_paused = true)]
async fn crashes_pause_longer_and_a_change_cuts_the_pause() {
    let (mut life, mut now) = running(Policy::OnFailure);
    for pause in [SECOND, 2 * SECOND, 4 * SECOND] {
        assert_eq!(life.ended(Outcome::Exited(1), false, now, 1.0 - f64::EPSILON), None);
        let until = life.wake_at().unwrap();
        assert!(until - now <= pause && until - now > pause.mul_f64(0.9), "{:?}", until - now);
        assert_eq!(life.tick(until), Some(Act::Start));
        now = until;
    }
    life.ended(Outcome::Exited(1), true, now, 0.0);
    assert!(life.awaits_rest(), "what the last one left must not be in the way of the next");
    assert_eq!(life.gone(now), None);
    assert_eq!(life.restart(None, now), (Restart::Underway, Some(Act::Start)));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ready,
    Signal(Signal),
    Ended(Outcome, bool),
    Gone,
    Restart,
    Quit,
    Pass(Duration),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let signal = prop_oneof![Just(Signal::TERM), Just(Signal::INT), Just(Signal::HUP), Just(Signal::WINCH)];
    let outcome = prop_oneof![(0..=255i32).prop_map(Outcome::Exited), (1..=31i32).prop_map(Outcome::Killed)];
    let event = prop_oneof![
        Just(Event::Ready),
        signal.prop_map(Event::Signal),
        (outcome, any::<bool>()).prop_map(|(outcome, rest)| Event::Ended(outcome, rest)),
        Just(Event::Gone),
        Just(Event::Restart),
        Just(Event::Quit),
        (0u64..40_000).prop_map(|millis| Event::Pass(Duration::from_millis(millis))),
    ];
    proptest::collection::vec(event, 0..40)
}

proptest! {
    /// Whatever came before, a SIGTERM ends the program within grace and the time after which a killed command is given up; nothing is started
    /// after it, and never two at once.
    #[test]
    fn a_sigterm_is_never_swallowed(
        policy in prop_oneof![Just(Policy::Never), Just(Policy::OnFailure), Just(Policy::Always)],
        before in events(), after in events(),
    ) {
        let (mut life, mut now) = (life(policy), Instant::now());
        let (mut alive, mut rest) = (false, false);
        let mut ended_by = None;
        let script = before.into_iter().map(|event| (event, false))
            .chain([(Event::Signal(Signal::TERM), true)])
            .chain(after.into_iter().map(|event| (event, false)));
        for (event, is_the_stop) in script {
            let act = match event {
                Event::Ready => life.ready(now),
                Event::Signal(signal) => life.signalled(signal, now),
                Event::Ended(outcome, left) if alive => {
                    (alive, rest) = (false, left);
                    life.ended(outcome, left, now, 0.5)
                }
                Event::Gone if rest && !alive => { rest = false; life.gone(now) }
                Event::Ended(..) | Event::Gone => None,
                Event::Restart => life.restart(None, now).1,
                Event::Quit => life.quit(now),
                Event::Pass(span) => {
                    now += span;
                    life.tick(now)
                }
            };
            if act == Some(Act::Start) {
                prop_assert!(!alive, "two at once");
                prop_assert!(ended_by.is_none(), "started after the stop");
                (alive, rest) = (true, false);
            }
            if is_the_stop {
                ended_by = Some(now + GRACE);
            }
            if life.is_over().is_some() {
                return Ok(());
            }
        }
        // Nothing helps any more but time.
        for _ in 0..2 {
            let Some(at) = life.wake_at() else { break };
            prop_assert!(at <= now.max(ended_by.unwrap()) + GRACE + GIVEN_UP_AFTER);
            now = now.max(at);
            life.tick(now);
        }
        prop_assert!(life.is_over().is_some(), "{life:?}");
    }
}
