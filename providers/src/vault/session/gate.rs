//! Lets one login through at a time, and none too soon after one that did not help.

use std::sync::Arc;
use std::time::Duration;

use keywheel_core::{Error, Result};
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use tracing::{debug, info};
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::token::Token;
use super::{FORBIDDEN, Session, lock, record};

/// What is remembered between logins.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Whether the tokens of the session before were looked for.
    restored: bool,
    /// The last login's failure, shared by all who come before that moment.
    failure: Option<(Error, Instant)>,
    failures: u32,
    /// The token in use was seen to live, which holds until that moment.
    seen_alive_until: Option<Instant>,
    /// No login only because of a refusal before that moment.
    refused_until: Option<Instant>,
    refusals: u32,
}

/// What to do about a request that was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nothing: no login helps, or it is too soon for another one.
    Stands,
    /// Ask again with this token, which is in use now.
    Replaced(Arc<Token>),
    /// Ask again with this token, and use it if that helps: the one in use is alive, and so are its leases.
    OnTrial(Arc<Token>),
}

impl Session {
    /// Returns the token in use, and whether it was obtained for this call.
    pub(super) async fn token(&self) -> Result<(Arc<Token>, bool)> {
        if let Some(token) = self.current() {
            return Ok((token, false));
        }
        let mut gate = self.gate.lock().await;
        if let Some(token) = self.current() {
            return Ok((token, true));
        }
        if !gate.restored && self.restore().await? {
            gate.restored = true;
            if let Some(token) = self.current() {
                return Ok((token, false));
            }
        }
        Ok((self.log_in(&mut gate).await?, true))
    }

    /// Finds out what the refusal of `refused` calls for.
    pub(super) async fn after_refusal(&self, refused: &Arc<Token>) -> Result<Refusal> {
        let mut gate = self.gate.lock().await;
        if let Some(current) = self.current()
            && !Arc::ptr_eq(&current, refused)
        {
            return Ok(Refusal::Replaced(current));
        }
        if !self.settings.method.can_replace() {
            return Ok(Refusal::Stands);
        }
        if !self.settings.method.issues_tokens() {
            let token = self.log_in(&mut gate).await?;
            return Ok(if Arc::ptr_eq(&token, refused) { Refusal::Stands } else { Refusal::Replaced(token) });
        }
        // While logins fail, the token has most likely ended: why there is no new one says more than this refusal, and failed logins have
        // a pace of their own.
        let now = self.clock.instant();
        if gate.failure.as_ref().is_none_or(|(_, until)| *until <= now) {
            if gate.seen_alive_until.is_some_and(|until| now < until) {
                return Ok(Refusal::Stands);
            }
            if self.is_alive(refused).await {
                gate.seen_alive_until = Some(now + ALIVE_AGAIN);
                if gate.refused_until.is_some_and(|until| now < until) {
                    return Ok(Refusal::Stands);
                }
                return Ok(self.on_trial(&mut gate).await);
            }
        }
        debug!(provider = self.name, "the token has ended; logging in again");
        self.log_in(&mut gate).await.map(Refusal::Replaced)
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
            Ok(token) => Refusal::OnTrial(Arc::new(token)),
            Err(error) => {
                debug!(provider = self.name, %error, "no login; the refusal stands");
                Refusal::Stands
            }
        }
    }

    /// Notes that a login was the cure for a refusal, and uses its token from now on.
    pub(super) async fn cured(&self, refused: &Arc<Token>, token: &Arc<Token>) {
        let mut gate = self.gate.lock().await;
        // The next refusal is a new matter.
        (gate.refusals, gate.seen_alive_until) = (0, None);
        gate.refused_until = Some(self.clock.instant() + CURE_AGAIN);
        match self.current() {
            Some(current) if Arc::ptr_eq(&current, token) => {}
            Some(current) if !Arc::ptr_eq(&current, refused) => {
                // Somebody else was quicker; leases may hang on this one all the same.
                token.supersede();
                lock(&self.superseded).push(Arc::clone(token));
            }
            _ => self.adopt(Arc::clone(token)).await,
        }
    }

    /// Gives a token back that was on trial and did not help.
    pub(super) async fn dismiss(&self, token: &Arc<Token>) {
        let in_use = self.current().is_some_and(|current| Arc::ptr_eq(&current, token));
        if !in_use && let Err(error) = self.give_back(token).await {
            debug!(provider = self.name, %error, "a token that did not help stays until it ends by itself");
        }
    }

    /// Logs in and lets everybody have the new token. The same token as before, read again from its file, stays what it is.
    pub(super) async fn log_in(&self, gate: &mut MutexGuard<'_, Gate>) -> Result<Arc<Token>> {
        let token = Arc::new(self.obtain(gate).await?);
        if let Some(current) = self.current()
            && current.value.expose_secret() == token.value.expose_secret()
        {
            return Ok(current);
        }
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
                Err(error)
            }
        }
    }

    /// Asks whether a token still is one. Without an answer, it is taken for one.
    async fn is_alive(&self, token: &Token) -> bool {
        let Ok(call) = self.transport.call("look up token", &LookupTokenSelfRequest {}) else { return true };
        let answer = self.transport.send(&call, Some(&token.value)).await;
        !answer.is_ok_and(|answer| answer.status == FORBIDDEN)
    }

    /// Goes on with the tokens of the session before; returns whether they were looked for.
    ///
    /// Whether the token in use still is one shows when it is used. A token that somebody else provides is taken from there, and found
    /// again among the remembered ones.
    async fn restore(&self) -> Result<bool> {
        let Some(bytes) = self.slot.load().await else { return Ok(true) };
        let Some(record) = record::read(&bytes, &self.settings.realm()) else {
            info!(
                provider = self.name,
                "the session before was another identity's; it ends with its own time"
            );
            return Ok(true);
        };
        if let Some(secret_id) = record.secret_id {
            self.settings.method.resume(secret_id);
        }
        let now = self.clock.now();
        let mut tokens: Vec<Arc<Token>> = record.tokens.into_iter().map(Arc::new).collect();
        tokens.retain(|token| token.life().ends_at().is_none_or(|end| end > now));
        let in_use = if self.settings.method.issues_tokens() {
            (!tokens.is_empty()).then(|| tokens.remove(0))
        } else {
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
        Ok(true)
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
/// Between two looks at whether a token that is refused still lives.
const ALIVE_AGAIN: Duration = Duration::from_secs(5);
/// Between logins only because some request was refused: most refusals are a matter of policy, which no login cures.
const REFUSAL_FIRST: Duration = Duration::from_secs(10);
const CURE_AGAIN: Duration = Duration::from_secs(1);
const REFUSAL_LONGEST: Duration = Duration::from_secs(600);
