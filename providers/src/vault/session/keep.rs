//! Keeps the token in use alive: renews it in time, and replaces it in time where it cannot be renewed.

use std::sync::Arc;
use std::time::Duration;

use keywheel_core::clock::until;
use keywheel_core::lease::Term;
use keywheel_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use tracing::{debug, warn};
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest};

use super::gate::{FAILURE_FIRST, FAILURE_LONGEST, backoff};
use super::token::Token;
use super::{FORBIDDEN, Session};
use crate::vault::error;
use crate::vault::life::{Life, Step};
use crate::vault::login::LoginAnswer;

impl Session {
    /// Keeps the token in use alive until it is dropped.
    pub(in crate::vault) async fn maintain(&self) {
        let mut changes = self.current.subscribe();
        loop {
            let token = changes.borrow_and_update().clone();
            let kept = async {
                match &token {
                    Some(token) => {
                        // Whoever obtained it may have been dropped on the way: `keep` itself is, by the change that it makes.
                        self.tidy().await;
                        self.keep(token).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = kept => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Does what `token` needs, when it needs it; returns only to be called again.
    async fn keep(&self, token: &Arc<Token>) {
        let method = &self.settings.method;
        let mut failures = 0;
        loop {
            let life = token.life();
            let Some((step, at)) = life.next(self.clock.now(), method.can_replace(), fastrand::f64()) else {
                return self.let_end(&life).await;
            };
            self.clock.sleep_until_time(at).await;
            let result = match (step, &life) {
                (Step::LookUp, _) => self.look_up(token).await,
                (Step::Renew, Life::Ends(term)) => self.renew(token, term).await,
                _ => self.replace(token).await.map(|()| life),
            };
            match result {
                // Only a token file that still holds this token comes here: everything else ends this call.
                Ok(_) if step == Step::Replace => self.pause(&life, &mut failures, None).await,
                Ok(next) => {
                    failures = 0;
                    token.set_life(next);
                    self.save().await;
                }
                Err(error) => {
                    warn!(provider = self.name, %error, ?step, "the token was not kept alive");
                    if step == Step::Renew && !error.is_temporary() {
                        token.set_life(life.not_renewable());
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
        if let Some(end) = life.ends_at() {
            let left = until(self.clock.now(), end);
            if !left.is_zero() {
                wait = wait.min(left / 4).max(FAILURE_FIRST / 2);
            }
        }
        self.clock.sleep_until(self.clock.instant() + wait.max(asked.unwrap_or_default())).await;
    }

    /// Says once that nothing can be done about the token's end, and waits for another token.
    async fn let_end(&self, life: &Life) {
        if let Some(end) = life.ends_at() {
            warn!(
                provider = self.name,
                seconds = until(self.clock.now(), end).as_secs(),
                "the token ends and can be neither renewed nor replaced"
            );
        }
        std::future::pending().await
    }

    async fn look_up(&self, token: &Token) -> Result<Life> {
        let call = self.transport.call("look up token", &LookupTokenSelfRequest {})?;
        let at = self.clock.now();
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
        let at = self.clock.now();
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
