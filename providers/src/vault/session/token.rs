//! A token, what is known of its life, and the leases that hang on it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keywheel_core::SecretValue;
use keywheel_core::lease::Parent;
use tokio::sync::watch;

use crate::vault::life::Life;

/// A token that the session has, or had.
#[derive(Debug)]
pub(in crate::vault) struct Token {
    /// What leases call it: it says nothing about the token.
    pub(super) name: String,
    pub(super) value: SecretValue,
    life: Mutex<Life>,
    parent: watch::Sender<Parent>,
    leases: Mutex<BTreeSet<String>>,
}

impl Token {
    /// Takes a token that was just obtained.
    pub(super) fn new(value: SecretValue, life: Life) -> Self {
        Self::named(format!("{:016x}", fastrand::u64(..)), value, life)
    }

    /// Takes a token that an earlier session had under this name.
    pub(super) fn named(name: String, value: SecretValue, life: Life) -> Self {
        let parent = Parent { ends_at: life.ends_at(), superseded: false };
        Self {
            name,
            value,
            life: Mutex::new(life),
            parent: watch::Sender::new(parent),
            leases: Mutex::default(),
        }
    }

    pub(super) fn life(&self) -> Life {
        *lock(&self.life)
    }

    /// Notes what became known of its life, and lets those who depend on it know.
    pub(super) fn set_life(&self, life: Life) {
        *lock(&self.life) = life;
        self.parent.send_if_modified(|parent| {
            let ends_at = life.ends_at();
            let modified = parent.ends_at != ends_at;
            parent.ends_at = ends_at;
            modified
        });
    }

    /// Lets those who depend on it know that another token has taken its place.
    pub(super) fn supersede(&self) {
        self.parent.send_modify(|parent| parent.superseded = true);
    }

    /// Sees its life, as the leases made with it do.
    pub(super) fn parent(&self) -> watch::Receiver<Parent> {
        self.parent.subscribe()
    }

    /// Notes a lease that hangs on it.
    pub(in crate::vault) fn hold(&self, lease: &str) {
        lock(&self.leases).insert(lease.to_owned());
    }

    /// Forgets a lease; returns whether another one still hangs on it.
    pub(super) fn let_go(&self, lease: &str) -> bool {
        let mut leases = lock(&self.leases);
        leases.remove(lease);
        !leases.is_empty()
    }

    /// Returns the leases that hang on it.
    pub(super) fn leases(&self) -> Vec<String> {
        lock(&self.leases).iter().cloned().collect()
    }

    /// Returns the name that leases call it by.
    pub(in crate::vault) fn name(&self) -> &str {
        &self.name
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
