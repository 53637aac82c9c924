//! Where a rotation that runs is asked for something, and shows how it stands.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::rotator::{Ask, Progress, Rotator, Standing};
use crate::error::Error;

/// How one rotation stands, by the last look at it.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its name.
    pub name: String,
    /// The secret that is rotated.
    pub target: String,
    /// The strategy's name.
    pub strategy: &'static str,
    /// How it stood when the store last said so.
    pub standing: Option<Standing>,
    /// Why the last attempt failed, if it did.
    pub error: Option<Error>,
    /// How often something was published since the program began.
    pub published: u64,
    /// How often an attempt failed since then.
    pub failed: u64,
}

/// One rotation of a server.
#[derive(Debug)]
pub(super) struct Desk {
    papers: Mutex<Papers>,
    asked: Notify,
}

#[derive(Debug)]
struct Papers {
    look: Look,
    /// What waits to begin.
    asked: Option<Ask>,
    /// When the last emergency began.
    emergency_at: Option<Timestamp>,
}

impl Desk {
    pub(super) fn of(rotator: &Rotator) -> Self {
        let look = Look {
            name: rotator.name().to_owned(),
            target: rotator.target().to_string(),
            strategy: rotator.strategy(),
            standing: None,
            error: None,
            published: 0,
            failed: 0,
        };
        Self { papers: Mutex::new(Papers { look, asked: None, emergency_at: None }), asked: Notify::new() }
    }

    pub(super) fn is_of(&self, name: &str) -> bool {
        self.papers().look.name == name
    }

    pub(super) fn look(&self) -> Look {
        self.papers().look.clone()
    }

    /// Notes what came of an attempt, and whether anything was published in it.
    pub(super) fn note(&self, is_published: bool, outcome: Result<Progress, Error>) {
        let look = &mut self.papers().look;
        look.published += u64::from(is_published);
        match outcome {
            Ok(progress) => (look.standing, look.error) = (Some(progress.standing), None),
            Err(error) => {
                look.failed += 1;
                look.error = Some(error);
            }
        }
    }

    pub(super) fn is_answered(&self, at: Timestamp) -> bool {
        let papers = self.papers();
        papers.asked.is_some() || papers.emergency_at.is_some_and(|begun| at <= begun)
    }

    pub(super) fn revoke(&self, reason: String) {
        let ask = Ask { now: true, revoke_old: true, roll_back: false, reason: Some(reason) };
        self.papers().asked = Some(ask);
        self.asked.notify_one();
    }

    /// Takes what waits to begin, which begins at `now`.
    pub(super) fn take(&self, now: Timestamp) -> Option<Ask> {
        let mut papers = self.papers();
        let ask = papers.asked.take()?;
        papers.emergency_at = Some(now);
        Some(ask)
    }

    /// Waits until something is asked for.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
