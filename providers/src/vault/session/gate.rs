//! Lets one login through at a time, and none too soon after one that did not help.

use std::sync::Arc;
use std::time::Duration;

use keywheel_core::{Error, Result};
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use tracing::{debug, info};
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::token::{Token, Use};
use super::{FORBIDDEN, Session, lock, record};
use crate::vault::transport::Answer;

/// What is remembered between logins.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Whether the tokens of the session before were looked for.
    restored: bool,
    /// The last login's failure, shared by all who come before that moment.
    failure: Option<(Error, Instant)>,
    failures: u32,
    /// The token in use was seen to have ended.
    ended: bool,
    /// The token in use was seen to live, which holds until that moment.
    seen_alive_until: Option<Instant>,
    /// No login for a token that seems to have ended before that moment: the last ones did not help.
    useless_until: Option<Instant>,
    useless: u32,
    /// No login only because of a refusal before that moment.
    refused_until: Option<Instant>,
    refusals: u32,
}

/// What to do about a request that was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nothing: no login helps, or it is too soon for another one.
    Stands,
    /// Ask again with this token, which somebody else has put in the place of the refused one.
    Replaced(Use),
    /// Ask again with this token, which is in use now: the refused one has ended.
    LoggedIn(Use),
    /// Ask again with this token, and use it if that helps: the one in use is alive, and so are its leases.
    OnTrial(Use),
}

impl Refusal {
    /// Returns the token to ask again with.
    pub(super) fn other(&self) -> Option<&Use> {
        match self {
            Self::Stands => None,
            Self::Replaced(other) | Self::LoggedIn(other) | Self::OnTrial(other) => Some(other),
        }
    }
}

impl Session {
    /// Returns the token in use, and whether it was obtained for this call.
    pub(super) async fn token(&self) -> Result<(Arc<Token>, bool)> {
        match self.current() {
            Some(token) => Ok((token, false)),
            // Boxed, as it is rare: see `ask_as`.
            None => Box::pin(self.first_token()).await,
        }
    }

    async fn first_token(&self) -> Result<(Arc<Token>, bool)> {
        let mut gate = self.gate.lock().await;
        if let Some(token) = self.current() {
            return Ok((token, true));
        }
        self.look_for_record(&mut gate).await?;
        match self.current() {
            Some(token) => Ok((token, false)),
            None => Ok((self.log_in(&mut gate).await?, true)),
        }
    }

    /// Makes sure that the tokens of the session before were looked for.
    pub(super) async fn restored(&self) -> Result<()> {
        self.look_for_record(&mut self.gate.lock().await).await
    }

    async fn look_for_record(&self, gate: &mut MutexGuard<'_, Gate>) -> Result<()> {
        if !gate.restored {
            self.restore().await?;
            gate.restored = true;
        }
        Ok(())
    }

    /// Finds out what the refusal of `refused` calls for.
    pub(super) async fn after_refusal(&self, refused: &Arc<Token>) -> Result<Refusal> {
        let mut gate = self.gate.lock().await;
        if let Some(current) = self.current()
            && !Arc::ptr_eq(&current, refused)
        {
            return Ok(Refusal::Replaced(Use::of(current)));
        }
        if !self.settings.method.can_replace() {
            return Ok(Refusal::Stands);
        }
        if !self.settings.method.issues_tokens() {
            let token = self.log_in(&mut gate).await?;
            let same = Arc::ptr_eq(&token, refused);
            return Ok(if same { Refusal::Stands } else { Refusal::Replaced(Use::of(token)) });
        }
        let now = self.clock.instant();
        let is_early = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if !gate.ended {
            if is_early(gate.seen_alive_until) || is_early(gate.useless_until) {
                return Ok(Refusal::Stands);
            }
            if self.is_alive(refused).await {
                gate.seen_alive_until = Some(now + ALIVE_AGAIN);
                if is_early(gate.refused_until) {
                    return Ok(Refusal::Stands);
                }
                return Ok(self.on_trial(&mut gate).await);
            }
            gate.ended = true;
        }
        debug!(provider = self.name, "the token has ended; logging in again");
        Ok(Refusal::LoggedIn(Use::of(self.log_in(&mut gate).await?)))
    }

    /// Logs in for a token that shows whether the one in use, which lives, is out of date.
    async fn on_trial(&self, gate: &mut MutexGuard<'_, Gate>) -> Refusal {
        debug!(
            provider = self.name,
            "the token lives and was refused; a login shows whether it is out of date"
        );
        let wait = backoff(gate.refusals, REFUSAL_FIRST, REFUSAL_LONGEST);
        gate.refusals = gate.refusals.saturating_add(1);
        gate.refused_until = Some(self.clock.instant() + wait);
        match self.obtain(gate).await {
            Ok(token) => {
                let token = Use::of(Arc::new(token));
                // Whoever tries it may be dropped on the way; then it is given back with the others.
                lock(&self.superseded).push(Arc::clone(&token));
                Refusal::OnTrial(token)
            }
            Err(error) => {
                debug!(provider = self.name, %error, "no login; the refusal stands");
                Refusal::Stands
            }
        }
    }

    /// Learns from the answer to a request that was sent again with another token than the `refused` one; returns the token that leases in the answer
    /// hang on.
    pub(super) async fn learn(&self, refused: Use, refusal: Refusal, again: Option<&Answer>) -> Use {
        // A server that fails says nothing about the token.
        let is_allowed = again.is_some_and(|answer| answer.is_success() || ALLOWED.contains(&answer.status));
        match refusal {
            Refusal::Stands => refused,
            Refusal::Replaced(token) => token,
            Refusal::LoggedIn(token) => {
                let mut gate = self.gate.lock().await;
                if is_allowed {
                    self.cured(&mut gate);
                } else if again.is_some_and(|answer| answer.status == FORBIDDEN) {
                    let wait = backoff(gate.useless, FAILURE_FIRST, FAILURE_LONGEST);
                    gate.useless = gate.useless.saturating_add(1);
                    gate.useless_until = Some(self.clock.instant() + wait);
                }
                token
            }
            Refusal::OnTrial(token) if is_allowed => {
                let mut gate = self.gate.lock().await;
                self.cured(&mut gate);
                match self.current() {
                    // Somebody else was quicker; a lease may hang on this one all the same.
                    Some(current) if !Arc::ptr_eq(&current, &refused) => token.supersede(),
                    _ => self.adopt(Arc::clone(&token)).await,
                }
                token
            }
            Refusal::OnTrial(token) => {
                drop(token);
                self.tidy().await;
                refused
            }
        }
    }

    /// Notes that a login was the cure for a refusal: the next refusal is a new matter.
    fn cured(&self, gate: &mut Gate) {
        (gate.refusals, gate.seen_alive_until) = (0, None);
        (gate.useless, gate.useless_until) = (0, None);
        gate.refused_until = Some(self.clock.instant() + CURE_AGAIN);
    }

    /// Logs in and lets everybody have the new token. The same token as before, read again from its file, stays what it is.
    pub(super) async fn log_in(&self, gate: &mut MutexGuard<'_, Gate>) -> Result<Arc<Token>> {
        let token = Arc::new(self.obtain(gate).await?);
        if let Some(current) = self.current()
            && current.value.expose_secret() == token.value.expose_secret()
        {
            return Ok(current);
        }
        gate.ended = false;
        self.adopt(Arc::clone(&token)).await;
        Ok(token)
    }

    /// Logs in, unless it is too soon for that after a failure.
    async fn obtain(&self, gate: &mut MutexGuard<'_, Gate>) -> Result<Token> {
        if let Some((error, until)) = &gate.failure
            && self.clock.instant() < *until
        {
            return Err(error.clone());
        }
        match self.settings.method.log_in(&self.transport, &self.clock).await {
            Ok(grant) => {
                gate.failure = None;
                gate.failures = 0;
                Ok(Token::new(grant.token, grant.life))
            }
            Err(error) => {
                let longest = if error.is_temporary() { FAILURE_LONGEST_TEMPORARY } else { FAILURE_LONGEST };
                let wait = backoff(gate.failures, FAILURE_FIRST, longest);
                let wait = error.retry_after().map_or(wait, |after| after.max(wait));
                gate.failures = gate.failures.saturating_add(1);
                gate.failure = Some((error.clone(), self.clock.instant() + wait));
                if self.settings.method.unwrapped().is_some() {
                    // It cannot be had again, and the login may work after a restart.
                    self.save().await;
                }
                Err(error)
            }
        }
    }

    /// Asks whether a token still is one. Without an answer, it is taken for one; so is one that may not look at itself, which servers say in
    /// other words than that they do not know a token: as one of perhaps several errors.
    async fn is_alive(&self, token: &Token) -> bool {
        let Ok(call) = self.transport.call("look up token", &LookupTokenSelfRequest {}) else { return true };
        let answer = self.transport.send(&call, Some(&token.value)).await;
        !answer.is_ok_and(|answer| answer.status == FORBIDDEN && !answer.says("1 error occurred"))
    }

    /// Goes on with the tokens of the session before.
    ///
    /// Whether the token in use still is one shows when it is used. A token that somebody else provides is taken from there, and found
    /// again among the remembered ones.
    async fn restore(&self) -> Result<()> {
        let Some(bytes) = self.slot.load().await else { return Ok(()) };
        let Some(record) = record::read(&bytes, &self.settings.realm()) else {
            info!(
                provider = self.name,
                "the session before was another identity's; it ends with its own time"
            );
            return Ok(());
        };
        if let Some(secret_id) = record.secret_id {
            self.settings.method.resume(secret_id);
        }
        let now = self.clock.now();
        let lives = |token: &Token| token.life().ends_at().is_none_or(|end| end > now);
        let mut tokens = record.tokens.into_iter();
        let first = tokens.next().filter(lives).map(Arc::new);
        let mut tokens: Vec<Arc<Token>> = tokens.filter(lives).map(Arc::new).collect();
        let in_use = if self.settings.method.issues_tokens() {
            first
        } else {
            tokens.extend(first);
            let given = self.settings.method.log_in(&self.transport, &self.clock).await?;
            let known =
                tokens.iter().position(|token| token.value.expose_secret() == given.token.expose_secret());
            Some(known.map_or_else(|| Arc::new(Token::new(given.token, given.life)), |at| tokens.remove(at)))
        };
        tokens.iter().for_each(|token| token.supersede());
        *lock(&self.superseded) = tokens;
        if let Some(token) = in_use {
            debug!(provider = self.name, "goes on with the session from before");
            self.current.send_replace(Some(token));
        }
        Ok(())
    }
}

/// Doubles from `first` to `longest`, of which it returns the upper half by chance.
pub(super) fn backoff(times: u32, first: Duration, longest: Duration) -> Duration {
    let bound = first.saturating_mul(1 << times.min(16)).min(longest);
    bound.mul_f64(0.5 + 0.5 * fastrand::f64())
}

/// Between logins that fail: a server that is away is soon asked again, one that refuses not so soon.
pub(super) const FAILURE_FIRST: Duration = Duration::from_secs(1);
const FAILURE_LONGEST_TEMPORARY: Duration = Duration::from_secs(5);
pub(super) const FAILURE_LONGEST: Duration = Duration::from_secs(60);
/// The refusals that a token gets which is allowed to ask.
const ALLOWED: [u16; 3] = [400, 404, 405];
/// Between two looks at whether a token that is refused still lives.
const ALIVE_AGAIN: Duration = Duration::from_secs(5);
/// Between logins only because some request was refused: most refusals are a matter of policy, which no login cures.
const REFUSAL_FIRST: Duration = Duration::from_secs(10);
const CURE_AGAIN: Duration = Duration::from_secs(1);
const REFUSAL_LONGEST: Duration = Duration::from_secs(600);
