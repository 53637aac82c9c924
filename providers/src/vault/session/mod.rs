//! The provider's token: obtained once for everybody, kept alive, replaced before it ends, given back at the end.
//!
//! Leases hang on the token that they were made with. A token that is replaced is *superseded*: whoever has leases of it makes them anew with
//! the one in its place, and when the last of its leases has gone, it is given back.

mod gate;
mod keep;
mod record;
mod token;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use keywheel_core::lease::{Lease, Parent};
use keywheel_core::provider::Ending;
use keywheel_core::registry::Context;
use keywheel_core::state::Slot;
use keywheel_core::{Clock, Result};
use rustify::endpoint::Endpoint;
use tokio::sync::watch;
use tracing::{debug, info, warn};
use vaultrs::api::token::requests::RevokeTokenSelfRequest;

use self::gate::Gate;
pub(super) use self::token::Token;
use self::token::Use;
use super::endpoint::Logical;
use super::error;
use super::settings::Settings;
use super::transport::{Answer, Transport};

/// Asks the server as somebody.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    transport: Transport,
    settings: Arc<Settings>,
    clock: Clock,
    slot: Slot,
    current: watch::Sender<Option<Arc<Token>>>,
    /// The tokens beside the one in use that are not given back yet: those that were in use, and those on trial.
    superseded: Mutex<Vec<Arc<Token>>>,
    gate: tokio::sync::Mutex<Gate>,
    tidying: tokio::sync::Mutex<()>,
}

impl Session {
    /// Makes the session; it goes on with the tokens of the one before, or logs in, when it is first asked.
    pub(super) fn new(transport: Transport, settings: Arc<Settings>, context: Context) -> Self {
        Self {
            name: context.name,
            transport,
            settings,
            clock: context.clock,
            slot: context.slot,
            current: watch::Sender::new(None),
            superseded: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
            tidying: tokio::sync::Mutex::default(),
        }
    }

    /// Asks what `endpoint` says. A refusal may mean that the token has ended: then it is asked once more with a new one.
    ///
    /// # Errors
    /// No login or no answer. A refusal is an answer.
    pub(super) async fn ask(&self, operation: &'static str, endpoint: &impl Endpoint) -> Result<Answer> {
        self.ask_as(operation, endpoint).await.map(|(answer, _)| answer)
    }

    /// Asks what `endpoint` says, and returns with which token: a lease in the answer hangs on that.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub(super) async fn ask_as(
        &self,
        operation: &'static str,
        endpoint: &impl Endpoint,
    ) -> Result<(Answer, Use)> {
        let call = self.transport.call(operation, endpoint)?;
        let (token, is_new) = self.token().await?;
        let token = Use::of(token);
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        if answer.status != FORBIDDEN || is_new {
            return Ok((answer, token));
        }
        // Boxed: this is rare, and a thousand requests that wait for their turn would each carry room for it.
        let refusal = Box::pin(self.after_refusal(&token)).await?;
        let Some(other) = refusal.other() else { return Ok((answer, token)) };
        let again = self.transport.send(&call, Some(&other.value)).await;
        let answered = Box::pin(self.learn(token, refusal, again.as_ref().ok())).await;
        Ok((again?, answered))
    }

    /// Asks what `endpoint` says, where a refusal is no reason to log in again, and the answer is not urgent.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub(super) async fn probe(&self, operation: &'static str, endpoint: &impl Endpoint) -> Result<Answer> {
        let call = self.transport.call(operation, endpoint)?;
        let (token, _) = self.token().await?;
        self.transport.probe(&call, Some(&token.value)).await
    }

    /// Returns the way to ask as nobody, or as the bearer of a token that is not the session's own.
    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
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

    /// Names server, namespace and identity.
    pub(super) fn realm(&self) -> String {
        self.settings.realm()
    }

    /// Sees the life of the token that a lease was made with; none where the session does not have that token any more.
    pub(super) fn parent(&self, lease: &Lease) -> Option<watch::Receiver<Parent>> {
        let token = self.holder(lease)?;
        token.hold(&lease.id);
        Some(token.parent())
    }

    /// Forgets a lease that has ended.
    pub(super) fn forget(&self, lease: &Lease) {
        if let Some(token) = self.holder(lease) {
            token.let_go(&lease.id);
        }
    }

    /// Gives a lease back. One of a superseded token goes with the token, when it is the last one.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(super) async fn revoke(&self, lease: &Lease) -> Result<()> {
        self.restored().await?;
        let Some(token) = self.holder(lease) else {
            // Its token has ended or was given back, and the lease with it.
            return Ok(());
        };
        let is_current = self.current().is_some_and(|current| Arc::ptr_eq(&current, &token));
        if is_current || !self.settings.method.issues_tokens() {
            let answer = self.ask("revoke lease", &revoke_lease(&lease.id)).await?;
            if !answer.is_success() {
                return Err(
                    error::refused(&answer).with_help("the policy must allow `update` on sys/leases/revoke")
                );
            }
            token.let_go(&lease.id);
            return Ok(());
        }
        token.let_go(&lease.id);
        if token.is_idle() {
            // Forgotten only then: whoever gets an error tries again.
            self.give_back(&token).await?;
            lock(&self.superseded).retain(|superseded| !Arc::ptr_eq(superseded, &token));
            self.save().await;
        }
        Ok(())
    }

    /// Ends the session. Tokens that it logged in for are given back with everything that hangs on them, or else the leases alone; or all
    /// stays for whoever comes next.
    ///
    /// # Errors
    /// Something was left behind; it ends by itself.
    pub(super) async fn close(&self, ending: Ending) -> Result<()> {
        let restored = match ending {
            Ending::Revoke => self.restored().await,
            Ending::Keep => Ok(()),
        };
        let current = self.current.send_replace(None);
        let superseded = std::mem::take(&mut *lock(&self.superseded));
        if ending == Ending::Keep {
            return Ok(());
        }
        let tokens: Vec<Arc<Token>> = current.into_iter().chain(superseded).collect();
        let results = if self.settings.method.issues_tokens() {
            join_all(tokens.iter().map(|token| self.give_back(token))).await
        } else {
            let leases = tokens.iter().flat_map(|token| {
                token.leases().into_iter().map(|lease| self.revoke_as(token, lease)).collect::<Vec<_>>()
            });
            join_all(leases).await
        };
        match self.settings.method.unwrapped() {
            // It cannot be unwrapped a second time.
            Some(_) => self.save().await,
            None => self.slot.clear().await,
        }
        results.into_iter().chain([restored]).collect()
    }

    async fn revoke_as(&self, token: &Token, lease: String) -> Result<()> {
        let call = self.transport.call("revoke lease", &revoke_lease(&lease))?;
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        if answer.is_success() { Ok(()) } else { Err(error::refused(&answer)) }
    }

    async fn give_back(&self, token: &Token) -> Result<()> {
        let call = self.transport.call("revoke token", &RevokeTokenSelfRequest {})?;
        let answer = self.transport.send(&call, Some(&token.value)).await?;
        match answer.is_success() || answer.status == FORBIDDEN {
            true => Ok(()),
            false => Err(error::refused(&answer)),
        }
    }

    /// Puts `token` in the place of the one in use, whose leases have to be made anew then.
    ///
    /// # Cancel safety
    /// Once it has begun, the token is in use; the rest is made up for by the next [`tidy`](Self::tidy).
    async fn adopt(&self, token: Arc<Token>) {
        let old = self.current();
        {
            let mut superseded = lock(&self.superseded);
            superseded.retain(|other| !Arc::ptr_eq(other, &token));
            superseded.extend(old.clone());
        }
        self.current.send_replace(Some(token));
        if let Some(old) = old {
            old.supersede();
        }
        if self.settings.method.issues_tokens() {
            info!(provider = self.name, "logged in");
        }
        self.tidy().await;
    }

    /// Remembers the session, and gives back the tokens that nothing hangs on any more.
    ///
    /// # Cancel safety
    /// The next call makes up for one that was dropped.
    async fn tidy(&self) {
        let _tidying = self.tidying.lock().await;
        self.save().await;
        let now = self.clock.now();
        let idle: Vec<Arc<Token>> = {
            let mut superseded = lock(&self.superseded);
            superseded.retain(|token| token.life().ends_at().is_none_or(|end| end > now));
            superseded.iter().filter(|token| token.is_idle() && !token.is_restored).cloned().collect()
        };
        if idle.is_empty() {
            return;
        }
        for token in idle {
            if self.settings.method.issues_tokens()
                && let Err(error) = self.give_back(&token).await
            {
                debug!(provider = self.name, %error, "a token stays until it ends by itself");
                if error.is_temporary() {
                    continue;
                }
            }
            lock(&self.superseded).retain(|superseded| !Arc::ptr_eq(superseded, &token));
        }
        self.save().await;
    }

    /// Remembers the tokens.
    async fn save(&self) {
        let tokens: Vec<Arc<Token>> =
            self.current().into_iter().chain(lock(&self.superseded).iter().cloned()).collect();
        let tokens = tokens.iter().map(|token| &**token);
        let secret_id = self.settings.method.unwrapped();
        match record::write(&self.settings.realm(), tokens, secret_id.as_ref()) {
            Some(record) => self.slot.save(record).await,
            None => warn!(provider = self.name, "the session cannot be remembered"),
        }
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.current.borrow().clone()
    }

    fn holder(&self, lease: &Lease) -> Option<Arc<Token>> {
        let current = self.current().filter(|token| token.name == lease.holder);
        current.or_else(|| lock(&self.superseded).iter().find(|token| token.name == lease.holder).cloned())
    }
}

fn revoke_lease(lease: &str) -> Logical {
    Logical::write("sys/leases/revoke", &serde_json::json!({"lease_id": lease}))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FORBIDDEN: u16 = 403;
