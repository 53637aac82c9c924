//! Who the provider is to AWS: credentials that are there before they are needed, and as long as they can be.

mod chain;
mod life;
mod method;
mod pod;
mod sts;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_credential_types::provider::{self, ProvideCredentials};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use keywheel_core::clock::until;
use keywheel_core::config::format_duration;
use keywheel_core::{Clock, Error, ErrorKind, Result};
use tokio::sync::{Mutex as Gate, Notify};
use tracing::{debug, info, warn};

use self::life::{Life, Outage};
pub(super) use self::method::Method;
#[cfg(feature = "schema")]
pub(super) use self::method::SESSION;
use super::http::Http;
use super::settings::Settings;

/// The credentials of one provider, shared by all of its clients.
pub(super) struct Identity {
    settings: Settings,
    http: Http,
    clock: Clock,
    region: OnceLock<Region>,
    /// One login at a time; whoever waits for it takes what it yielded.
    gate: Gate<()>,
    state: Mutex<State>,
    changed: Notify,
    /// Whether somebody renews the credentials in the background, so that nobody else has to.
    is_maintained: AtomicBool,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    outage: Option<Outage>,
}

/// Credentials that a login yielded.
pub(super) struct Held {
    credentials: Credentials,
    life: Life,
}

impl Held {
    /// Says which credentials they are, by the end of the access key's id, and when they end.
    pub(super) fn describe(&self, now: Timestamp) -> String {
        let id = self.credentials.access_key_id();
        let shown = id.char_indices().rev().nth(3).map_or(id, |(start, _)| &id[start..]).escape_debug();
        let end = match self.life.ends_at() {
            Some(end) => format!("end in {}", format_duration(until(now, end))),
            None => "have no end".to_owned(),
        };
        format!("access key …{shown}; they {end}")
    }
}

impl Identity {
    /// Makes an identity that has not logged in.
    pub(super) fn new(settings: &Settings, http: Http, clock: Clock) -> Self {
        Self {
            settings: settings.clone(),
            http,
            clock,
            region: OnceLock::new(),
            gate: Gate::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            is_maintained: AtomicBool::default(),
        }
    }

    /// Says in which region STS is asked; the first word stands.
    pub(super) fn set_region(&self, region: Region) {
        self.region.get_or_init(|| region);
    }

    /// Returns credentials that are good for this moment. Logs in where there are none, or where those that are there are near their end.
    ///
    /// # Errors
    /// Why nobody can be logged in as; for a moment after a failure, the same without asking again.
    pub(super) async fn credentials(&self) -> Result<Arc<Held>> {
        let enough: fn(&Life, Timestamp) -> bool =
            if self.is_maintained.load(Ordering::Relaxed) { Life::is_good } else { Life::is_fresh };
        match self.at_hand(enough) {
            Some(held) => Ok(held),
            None => self.log_in(enough).await,
        }
    }

    /// Takes note that AWS does not take these credentials. Returns whether others may be had at once.
    pub(super) fn reject(&self, rejected: &Arc<Held>) -> bool {
        let mut state = self.state();
        match &state.held {
            Some(held) if Arc::ptr_eq(held, rejected) => {
                let is_old = held.life.is_old(self.clock.now());
                if is_old {
                    debug!("AWS does not take the credentials; others are asked for");
                    state.held = None;
                }
                is_old
            }
            // Somebody else was quicker.
            _ => true,
        }
    }

    /// Renews the credentials before they end, until it is dropped. Nobody has to wait for them then.
    pub(super) async fn maintain(&self) {
        let _maintaining = Maintaining::begin(&self.is_maintained);
        loop {
            let changed = self.changed.notified();
            let due = {
                let state = self.state();
                let due = state.held.as_ref().and_then(|held| held.life.renew_at());
                due.map(|due| state.outage.as_ref().map_or(due, |outage| due.max(outage.over_at())))
            };
            match due {
                None => changed.await,
                Some(due) => {
                    tokio::select! {
                        () = changed => {}
                        () = self.clock.sleep_until_time(due) => drop(self.log_in(Life::is_young).await),
                    }
                }
            }
        }
    }

    /// Returns the credentials that are there, if they are `enough` at this moment.
    fn at_hand(&self, enough: fn(&Life, Timestamp) -> bool) -> Option<Arc<Held>> {
        let now = self.clock.now();
        self.state().held.clone().filter(|held| enough(&held.life, now))
    }

    async fn log_in(&self, enough: fn(&Life, Timestamp) -> bool) -> Result<Arc<Held>> {
        let _turn = match self.gate.try_lock() {
            Ok(turn) => turn,
            Err(_) => match self.at_hand(Life::is_good) {
                // Somebody is at it already: it may take as long as it takes while these are good.
                Some(held) => return Ok(held),
                None => self.gate.lock().await,
            },
        };
        if let Some(held) = self.at_hand(enough) {
            return Ok(held);
        }
        let now = self.clock.now();
        let outage = self.state().outage.clone();
        if let Some(error) = outage.as_ref().and_then(|outage| outage.error_at(now)) {
            return self.at_hand(Life::is_good).ok_or(error);
        }
        // Boxed: done once an hour, and too large to be part of every call.
        let asked: BoxFuture<'_, Result<Credentials>> = Box::pin(self.ask_for_credentials());
        let given = asked.await.and_then(|credentials| {
            let life = Life::of(&credentials, now);
            match life.is_good(self.clock.now()) {
                true => Ok((credentials, life)),
                // Asking again and again would yield the same.
                false => Err(already_over()),
            }
        });
        match given {
            Ok((credentials, life)) => {
                if outage.is_some() {
                    info!("AWS credentials can be had again");
                }
                debug!(ends_at = ?life.ends_at(), "took new AWS credentials");
                let held = Arc::new(Held { credentials, life });
                *self.state() = State { held: Some(Arc::clone(&held)), outage: None };
                self.changed.notify_waiters();
                Ok(held)
            }
            Err(error) => {
                let error = error.with("identity", self.settings.method.describe());
                let (good, now) = (self.at_hand(Life::is_good), self.clock.now());
                let left = good.as_ref().map_or(Duration::ZERO, |held| held.life.left(now));
                let next = Outage::after(outage, error.clone(), left, now);
                if next.is_worth_a_word() {
                    let stands = if good.is_some() {
                        "those from before are good for a while"
                    } else {
                        "there are none"
                    };
                    warn!(%error, failures = next.failures(), "no new AWS credentials; {stands}");
                }
                self.state().outage = Some(next);
                good.ok_or(error)
            }
        }
    }

    async fn ask_for_credentials(&self) -> Result<Credentials> {
        let Some(region) = self.region.get().cloned() else {
            return Err(Error::config("log in", "no region is known"));
        };
        let chain = |profile: Option<&str>| {
            chain::credentials(&self.settings, &self.http, region.clone(), profile.map(str::to_owned))
        };
        let sts = || sts::Sts::new(&self.settings, &self.http, region.clone(), self.clock.clone());
        match &self.settings.method {
            Method::Chain => chain(None).await,
            Method::Profile(profile) => chain(Some(profile)).await,
            Method::WebIdentity { role, token } => sts().with_web_identity(role, token).await,
            Method::PodIdentity(agent) => pod::credentials(&self.http, agent).await,
            Method::AssumeRole { role, external_id, profile } => {
                let own = chain(profile.as_deref()).await?;
                sts().with_role(role, external_id.as_deref(), own).await
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn already_over() -> Error {
    let reason = "the credentials that were given are over already";
    Error::new(ErrorKind::Unauthenticated, "log in", reason)
        .with_temporary(true)
        .with_help("is this machine's clock right?")
}

/// Says that the credentials are renewed in the background, until it is dropped.
struct Maintaining<'a>(&'a AtomicBool);

impl<'a> Maintaining<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Maintaining<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl ProvideCredentials for Identity {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        Providing::new(async {
            let held = self.credentials().await.map_err(CredentialsError::provider_error);
            provider::Result::Ok(held?.credentials.clone())
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("method", &self.settings.method).finish_non_exhaustive()
    }
}
