//! The provider's one token: obtained once for everybody, kept alive, replaced before it ends, given back at the end.

use std::sync::Arc;
use std::time::Duration;

use keywheel_core::{Clock, Error, ErrorKind, Result, SecretValue};
use rustify::endpoint::Endpoint;
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest};

use super::error;
use super::life::{Life, Step, Term};
use super::login::LoginAnswer;
use super::settings::Settings;
use super::transport::{Answer, Transport};

/// Asks the server as somebody.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    transport: Transport,
    settings: Arc<Settings>,
    clock: Clock,
    current: watch::Sender<Option<Arc<Token>>>,
    gate: Mutex<Gate>,
}

/// A token and what is known of its life when it came.
#[derive(Debug)]
struct Token {
    value: SecretValue,
    life: Life,
}

/// What lets one login through at a time, and none too soon after one that did not help.
#[derive(Debug, Default)]
struct Gate {
    /// The last login's failure, shared by all who come before that moment.
    failure: Option<(Error, Instant)>,
    failures: u32,
    /// No login only because of a refusal before that moment.
    refused_until: Option<Instant>,
    refusals: u32,
}

impl Session {
    /// Makes the session of the provider `name`; it logs in when it is first asked.
    pub(super) fn new(name: &str, transport: Transport, settings: Arc<Settings>, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            transport,
            settings,
            clock,
            current: watch::Sender::new(None),
            gate: Mutex::default(),
        }
    }

    /// Asks what `endpoint` says. A refusal may mean that the token has ended: then it is asked once more with a new one.
    ///
    /// # Errors
    /// No login or no answer. A refusal is an answer.
    pub(super) async fn ask(&self, operation: &'static str, endpoint: &impl Endpoint) -> Result<Answer> {
        let call = self.transport.call(operation, endpoint)?;
        let (token, is_new) = self.token().await?;
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        if answer.status != FORBIDDEN || is_new {
            return Ok(answer);
        }
        let Some(newer) = self.after_refusal(&token).await? else {
            return Ok(answer);
        };
        let again = self.transport.send(&call, Some(&newer.value)).await?;
        if again.status != FORBIDDEN {
            // The login was the cure: the next refusal is a new matter.
            let mut gate = self.gate.lock().await;
            gate.refusals = 0;
            gate.refused_until = Some(self.clock.instant() + CURE_AGAIN);
        }
        Ok(again)
    }

    /// Asks what `endpoint` says, where a refusal is no reason to log in again.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub(super) async fn probe(&self, operation: &'static str, endpoint: &impl Endpoint) -> Result<Answer> {
        let call = self.transport.call(operation, endpoint)?;
        let (token, _) = self.token().await?;
        self.transport.send(&call, Some(&token.value)).await
    }

    /// Returns the token in use, as something that can be compared: it changes with every login.
    pub(super) fn identity(&self) -> Option<usize> {
        self.current.borrow().as_ref().map(|token| Arc::as_ptr(token) as usize)
    }

    /// Returns what a refusal may mean beside a policy that forbids, for help: a session that logs in has ruled it out.
    pub(super) fn doubt(&self) -> &'static str {
        match self.settings.method.issues_tokens() {
            true => "",
            false => ", and the token must still be valid",
        }
    }

    /// Keeps the token alive until it is dropped: renews it in time, and replaces it in time where it cannot be renewed.
    pub(super) async fn maintain(&self) {
        let mut changes = self.current.subscribe();
        loop {
            let token = changes.borrow_and_update().clone();
            let kept = async {
                match &token {
                    Some(token) => self.keep(token).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = kept => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Revokes the token, if this session logged in for it.
    ///
    /// # Errors
    /// The token was left behind; it ends by itself.
    pub(super) async fn close(&self) -> Result<()> {
        let Some(token) = self.current.send_replace(None) else {
            return Ok(());
        };
        if !self.settings.method.issues_tokens() {
            return Ok(());
        }
        let call = self.transport.call("revoke token", &RevokeTokenSelfRequest {})?;
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        match answer.is_success() || answer.status == FORBIDDEN {
            true => Ok(()),
            false => Err(error::refused(&answer)),
        }
    }

    /// Returns the token, and whether it was obtained for this call.
    async fn token(&self) -> Result<(Arc<Token>, bool)> {
        if let Some(token) = self.current() {
            return Ok((token, false));
        }
        let mut gate = self.gate.lock().await;
        if let Some(token) = self.current() {
            return Ok((token, true));
        }
        Ok((self.log_in(&mut gate).await?, true))
    }

    /// Returns a token other than `refused`, or nothing when there is none or it is too soon to ask for one.
    async fn after_refusal(&self, refused: &Arc<Token>) -> Result<Option<Arc<Token>>> {
        let mut gate = self.gate.lock().await;
        if let Some(current) = self.current()
            && !Arc::ptr_eq(&current, refused)
        {
            return Ok(Some(current));
        }
        if !self.settings.method.can_replace() {
            return Ok(None);
        }
        // While logins fail, the token has most likely ended: why there is no new one says more than this refusal, and failed logins have
        // a pace of their own.
        if gate.failure.is_none() && self.settings.method.issues_tokens() {
            let now = self.clock.instant();
            if gate.refused_until.is_some_and(|until| now < until) {
                return Ok(None);
            }
            let wait = backoff(gate.refusals, REFUSAL_FIRST, REFUSAL_LONGEST);
            gate.refusals = gate.refusals.saturating_add(1);
            gate.refused_until = Some(now + wait);
        }
        debug!(provider = self.name, "the server refuses the token; asking for another one");
        let token = self.log_in(&mut gate).await?;
        Ok((!Arc::ptr_eq(&token, refused)).then_some(token))
    }

    /// Logs in and lets everybody have the new token. The same token as before, read again from its file, stays what it is.
    async fn log_in(&self, gate: &mut MutexGuard<'_, Gate>) -> Result<Arc<Token>> {
        if let Some((error, until)) = &gate.failure
            && self.clock.instant() < *until
        {
            return Err(error.clone());
        }
        let grant = match self.settings.method.log_in(&self.transport, &self.clock).await {
            Ok(grant) => grant,
            Err(error) => {
                let longest = if error.is_temporary() { FAILURE_LONGEST_TEMPORARY } else { FAILURE_LONGEST };
                let wait = backoff(gate.failures, FAILURE_FIRST, longest);
                let wait = error.retry_after().map_or(wait, |after| after.max(wait));
                gate.failures = gate.failures.saturating_add(1);
                gate.failure = Some((error.clone(), self.clock.instant() + wait));
                return Err(error);
            }
        };
        gate.failure = None;
        gate.failures = 0;
        if let Some(current) = self.current()
            && current.value.expose_secret() == grant.token.expose_secret()
        {
            return Ok(current);
        }
        let token = Arc::new(Token { value: grant.token, life: grant.life });
        self.current.send_replace(Some(Arc::clone(&token)));
        if self.settings.method.issues_tokens() {
            info!(provider = self.name, "logged in");
        }
        Ok(token)
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.current.borrow().clone()
    }

    /// Does what `token` needs, when it needs it; returns only to be called again.
    async fn keep(&self, token: &Arc<Token>) {
        let method = &self.settings.method;
        let mut life = token.life;
        let mut failures = 0;
        loop {
            let Some((step, at)) = life.next(self.clock.instant(), method.can_replace(), fastrand::f64())
            else {
                return self.let_end(&life).await;
            };
            self.clock.sleep_until(at).await;
            let result = match (step, &life) {
                (Step::LookUp, _) => self.look_up(token).await,
                (Step::Renew, Life::Ends(term)) => self.renew(token, term).await,
                _ => self.replace(token).await.map(|()| life),
            };
            match result {
                Ok(next) if step == Step::Replace => {
                    // Only a token file that still holds this token comes here: everything else ends this call.
                    life = next;
                    self.pause(&life, &mut failures, None).await;
                }
                Ok(next) => {
                    life = next;
                    failures = 0;
                }
                Err(error) => {
                    warn!(provider = self.name, %error, ?step, "the token was not kept alive");
                    if step == Step::Renew && !error.is_temporary() {
                        life = life.not_renewable();
                    }
                    self.pause(&life, &mut failures, error.retry_after()).await;
                }
            }
        }
    }

    /// Waits before the next attempt: longer each time, yet so that several fit into what is left of the life; and as long as the server
    /// asked for.
    async fn pause(&self, life: &Life, failures: &mut u32, asked: Option<Duration>) {
        let mut wait = backoff(*failures, FAILURE_FIRST, FAILURE_LONGEST);
        *failures = failures.saturating_add(1);
        if let Life::Ends(term) = life {
            let left = term.deadline().saturating_duration_since(self.clock.instant());
            if !left.is_zero() {
                wait = wait.min(left / 4).max(FAILURE_FIRST / 2);
            }
        }
        self.clock.sleep_until(self.clock.instant() + wait.max(asked.unwrap_or_default())).await;
    }

    /// Says once that nothing can be done about the token's end, and waits for another token.
    async fn let_end(&self, life: &Life) {
        if let Life::Ends(term) = life {
            let left = term.deadline().saturating_duration_since(self.clock.instant());
            warn!(
                provider = self.name,
                seconds = left.as_secs(),
                "the token ends and can be neither renewed nor replaced"
            );
        }
        std::future::pending().await
    }

    async fn look_up(&self, token: &Token) -> Result<Life> {
        let call = self.transport.call("look up token", &LookupTokenSelfRequest {})?;
        let at = self.clock.instant();
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        if answer.status == FORBIDDEN {
            debug!(provider = self.name, "the token may not be looked up; taken as one without an end");
            return Ok(Life::Endless);
        }
        if !answer.is_success() {
            return Err(error::refused(&answer));
        }
        let found = answer.parse::<LookUpAnswer>()?.data;
        let seconds = Duration::from_secs;
        let first = found.period.unwrap_or(0).max(found.creation_ttl);
        Ok(Life::looked_up(at, seconds(found.ttl), seconds(first), found.renewable))
    }

    async fn renew(&self, token: &Token, term: &Term) -> Result<Life> {
        let increment = Some(format!("{}s", term.wanted.as_secs()));
        let call = self.transport.call("renew token", &RenewTokenSelfRequest { increment })?;
        let at = self.clock.instant();
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        if !answer.is_success() {
            let refused = error::refused(&answer);
            return Err(match answer.status {
                FORBIDDEN => Error::new(
                    ErrorKind::Unauthenticated,
                    "renew token",
                    "the token cannot be renewed, or has ended",
                )
                .with("status", FORBIDDEN),
                _ => refused,
            });
        }
        let life = answer.parse::<LoginAnswer>()?.auth.renewed(term, at);
        debug!(provider = self.name, ?life, "renewed the token");
        Ok(life)
    }

    async fn replace(&self, token: &Arc<Token>) -> Result<()> {
        let mut gate = self.gate.lock().await;
        match self.current() {
            Some(current) if Arc::ptr_eq(&current, token) => self.log_in(&mut gate).await.map(drop),
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct LookUpAnswer {
    data: LookUp,
}

#[derive(Deserialize)]
struct LookUp {
    ttl: u64,
    #[serde(default)]
    creation_ttl: u64,
    #[serde(default)]
    renewable: bool,
    period: Option<u64>,
}

/// Doubles from `first` to `longest`, of which it returns the upper half by chance.
fn backoff(times: u32, first: Duration, longest: Duration) -> Duration {
    let bound = first.saturating_mul(1 << times.min(16)).min(longest);
    bound.mul_f64(0.5 + 0.5 * fastrand::f64())
}

const FORBIDDEN: u16 = 403;
/// Between logins that fail: a server that is away is soon asked again, one that refuses not so soon.
const FAILURE_FIRST: Duration = Duration::from_secs(1);
const FAILURE_LONGEST_TEMPORARY: Duration = Duration::from_secs(5);
const FAILURE_LONGEST: Duration = Duration::from_secs(60);
/// Between logins only because some request was refused: most refusals are a matter of policy, which no login cures.
const REFUSAL_FIRST: Duration = Duration::from_secs(10);
const CURE_AGAIN: Duration = Duration::from_secs(1);
const REFUSAL_LONGEST: Duration = Duration::from_secs(600);
