//! A token, what is known of its life, and the leases that hang on it.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Whether it was remembered: leases may hang on it that nobody has named yet.
    pub(super) is_restored: bool,
    life: Mutex<Life>,
    parent: watch::Sender<Parent>,
    leases: Mutex<BTreeSet<String>>,
    uses: AtomicUsize,
}

impl Token {
    /// Takes a token that was just obtained.
    pub(super) fn new(value: SecretValue, life: Life) -> Self {
        let name = format!("{:016x}", fastrand::u64(..));
        Self { is_restored: false, ..Self::named(name, value, life) }
    }

    /// Takes a token that an earlier session had under this name.
    pub(super) fn named(name: String, value: SecretValue, life: Life) -> Self {
        let parent = Parent { ends_at: life.ends_at(), superseded: false };
        Self {
            name,
            value,
            is_restored: true,
            life: Mutex::new(life),
            parent: watch::Sender::new(parent),
            leases: Mutex::default(),
            uses: AtomicUsize::new(0),
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

    /// Forgets a lease.
    pub(super) fn let_go(&self, lease: &str) {
        lock(&self.leases).remove(lease);
    }

    /// Tells whether no lease hangs on it, and none is being made with it.
    pub(super) fn is_idle(&self) -> bool {
        // In this order: a lease is noted before the use ends that made it.
        self.uses.load(Ordering::SeqCst) == 0 && lock(&self.leases).is_empty()
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

/// A token while a request is under way with it, which may make a lease: it is not given back meanwhile.
#[derive(Debug)]
pub(in crate::vault) struct Use(Arc<Token>);

impl Use {
    pub(super) fn of(token: Arc<Token>) -> Self {
        token.uses.fetch_add(1, Ordering::SeqCst);
        Self(token)
    }
}

impl Deref for Use {
    type Target = Arc<Token>;

    fn deref(&self) -> &Arc<Token> {
        &self.0
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.uses.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
