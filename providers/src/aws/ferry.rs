//! Carries many questions over with one call.
//!
//! Questions that come together board one ferry. It leaves when it is full, or when nobody has boarded for as long as the first passenger is patient (and
//! soon in any case), and so never answers with what was true before somebody asked. Whoever boarded first steers; when that one gives up, another
//! takes over.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keywheel_core::{Clock, Result};
use tokio::sync::{Notify, OnceCell};
use tracing::warn;

/// The ferry that is being boarded; those that have left are their passengers' own.
pub(super) struct Ferry<V> {
    clock: Clock,
    capacity: usize,
    permission: &'static str,
    boarding: Mutex<Option<Arc<Crossing<V>>>>,
    /// Whether the policy allows no such calls.
    is_closed: AtomicBool,
}

/// What a call answers to each of its questions, by what was asked; nothing where the call as a whole is not allowed.
pub(super) type Answers<V> = Option<HashMap<String, Result<Arc<V>>>>;

/// What came of one question.
#[derive(Debug)]
enum Landing<V> {
    /// There is an answer, or an error of this question's own.
    Answered(Result<Arc<V>>),
    /// The call passed it over.
    Missed,
    /// Such calls are not allowed.
    Forbidden,
}

struct Crossing<V> {
    passengers: Mutex<Vec<String>>,
    boarded: Notify,
    answers: OnceCell<Answers<V>>,
}

impl<V> Ferry<V> {
    /// Makes a ferry with room for `capacity` questions, whose calls need `permission`.
    pub(super) fn new(capacity: usize, permission: &'static str, clock: Clock) -> Self {
        Self { clock, capacity, permission, boarding: Mutex::default(), is_closed: AtomicBool::default() }
    }

    /// Tells whether questions are carried together, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed.load(Ordering::Relaxed)
    }

    /// Asks `id` together with others that come within `patience`, with the call `many`. Asks it by itself, with `one`, where there are no
    /// others, where the call passes it over, and where the policy does not allow the call; that is found out once.
    ///
    /// # Errors
    /// Those of the question itself, or of a call that failed as a whole.
    pub(super) async fn fetch<A>(
        &self,
        id: &str,
        patience: Duration,
        many: impl FnOnce(Vec<String>) -> A,
        one: impl Future<Output = Result<Arc<V>>>,
    ) -> Result<Arc<V>>
    where
        A: Future<Output = Answers<V>>,
    {
        if !self.is_open() {
            return one.await;
        }
        let ask = |ids: Vec<String>| async {
            match ids.len() {
                // Costs the same by itself, and needs no permission of its own.
                1 => Some(HashMap::new()),
                _ => many(ids).await,
            }
        };
        match self.cross(id, patience, ask).await {
            Landing::Answered(answer) => answer,
            Landing::Missed => one.await,
            Landing::Forbidden => {
                let answer = one.await;
                // The same identity may read the secret: so it is the one permission that is missing.
                if answer.is_ok() && !self.is_closed.swap(true, Ordering::Relaxed) {
                    warn!(
                        "the policy does not allow `{}`: each secret is read with a request of its own until the next start",
                        self.permission
                    );
                }
                answer
            }
        }
    }

    async fn cross<A>(&self, id: &str, patience: Duration, ask: impl FnOnce(Vec<String>) -> A) -> Landing<V>
    where
        A: Future<Output = Answers<V>>,
    {
        let crossing = self.board(id);
        let steer = || async {
            let latest = self.clock.instant() + LONGEST.max(patience);
            while lock(&crossing.passengers).len() < self.capacity {
                tokio::select! {
                    () = crossing.boarded.notified() => {}
                    () = self.clock.sleep_until(latest.min(self.clock.instant() + patience)) => break,
                }
            }
            self.leave(&crossing);
            let passengers = lock(&crossing.passengers).clone();
            ask(passengers).await
        };
        match crossing.answers.get_or_init(steer).await {
            None => Landing::Forbidden,
            Some(answers) => answers.get(id).cloned().map_or(Landing::Missed, Landing::Answered),
        }
    }

    fn board(&self, id: &str) -> Arc<Crossing<V>> {
        let mut boarding = lock(&self.boarding);
        let crossing = Arc::clone(boarding.get_or_insert_default());
        let mut passengers = lock(&crossing.passengers);
        if !passengers.iter().any(|passenger| passenger == id) {
            passengers.push(id.to_owned());
            crossing.boarded.notify_one();
        }
        if passengers.len() >= self.capacity {
            *boarding = None;
        }
        drop(passengers);
        crossing
    }

    fn leave(&self, crossing: &Arc<Crossing<V>>) {
        let mut boarding = lock(&self.boarding);
        if boarding.as_ref().is_some_and(|boarding| Arc::ptr_eq(boarding, crossing)) {
            *boarding = None;
        }
    }
}

impl<V> Default for Crossing<V> {
    fn default() -> Self {
        Self { passengers: Mutex::default(), boarded: Notify::new(), answers: OnceCell::new() }
    }
}

impl<V> fmt::Debug for Ferry<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ferry").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a first read waits for one more: somebody may be waiting at a terminal.
pub(super) const FIRST: Duration = Duration::from_millis(5);
/// How long a poll waits for one more: hundreds are woken at one moment, and not all in a millisecond.
pub(super) const POLL: Duration = Duration::from_millis(25);
/// How long a ferry that is not full waits at most, while others keep coming.
const LONGEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    /// Counts calls, and answers each question with itself.
    #[derive(Default)]
    struct Shore(Mutex<Vec<usize>>);

    impl Shore {
        async fn answer(&self, ids: Vec<String>) -> Answers<String> {
            lock(&self.0).push(ids.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some(ids.into_iter().map(|id| (id.clone(), Ok(Arc::new(id)))).collect())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_together_costs_a_call_for_each_full_ferry() {
        let (ferry, shore) = (Ferry::new(20, "batch", Clock::system()), Shore::default());
        let asked = (0..510).map(|number| {
            let (ferry, shore) = (&ferry, &shore);
            async move {
                let id = format!("s{number}");
                match ferry.cross(&id, PATIENCE, |ids| shore.answer(ids)).await {
                    Landing::Answered(Ok(answer)) => assert_eq!(*answer, id),
                    other => panic!("{other:?}"),
                }
            }
        });
        join_all(asked).await;
        let mut calls = lock(&shore.0).clone();
        calls.sort_unstable();
        assert_eq!((calls.len(), calls[0], calls[1]), (26, 10, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_keep_coming_are_waited_for_and_not_for_ever() {
        let (ferry, shore) = (Ferry::new(20, "batch", Clock::system()), Shore::default());
        let asked = (0..100).map(|number| {
            let (ferry, shore) = (&ferry, &shore);
            async move {
                tokio::time::sleep(PATIENCE / 2 * number).await;
                ferry.cross(&format!("s{number}"), PATIENCE, |ids| shore.answer(ids)).await
            }
        });
        join_all(asked).await;
        let calls = lock(&shore.0).clone();
        let (last, before) = calls.split_last().unwrap();
        assert!(before.iter().all(|passengers| (10..=11).contains(passengers)) && *last <= 11, "{calls:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_takes_nobody_along_and_one_that_comes_late_takes_the_next() {
        let (ferry, shore) = (Ferry::new(20, "batch", Clock::system()), Shore::default());
        let cross = |id: &'static str| ferry.cross(id, PATIENCE, |ids| shore.answer(ids));
        let mut first = Box::pin(cross("a"));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(cross("b"));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert!(matches!(second.await, Landing::Answered(Ok(answer)) if *answer == "b"));
        assert!(matches!(cross("b").await, Landing::Answered(Ok(_))));
        assert_eq!(*lock(&shore.0), [2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_and_what_is_not_allowed_are_told_apart() {
        let ferry = Ferry::<String>::new(2, "batch", Clock::system());
        let missed = ferry.cross("a", PATIENCE, |_| async { Some(HashMap::new()) }).await;
        assert!(matches!(missed, Landing::Missed));
        assert!(matches!(ferry.cross("a", PATIENCE, |_| async { None }).await, Landing::Forbidden));
    }
}
