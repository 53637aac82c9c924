//! Secrets that a program keeps using: always at their newest good value, in a type of its own.
//!
//! ```text
//! Client::watch -> Watches (Keepers of one secret each) -> Tended (shared) -> Watched<T> (one per user of it)
//! ```
//!
//! A [`Watched`] sees each new value ([`changed`](Watched::changed)), and says when it uses it ([`confirm`](Watched::confirm)): until everybody has, the
//! lease of the value before is kept.

mod tended;
mod versioned;
mod watches;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tracing::warn;

use self::tended::Tended;
pub use self::versioned::Versioned;
pub(crate) use self::watches::Watches;
use crate::client::named;
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{Hold, KeeperHandle, Kept};
use crate::reference::SecretRef;
use crate::typed;

/// One user of a secret that is kept fresh. Made by [`Client::watch`](crate::Client::watch).
///
/// ```no_run
/// # use keywheel_core::{Client, SecretString, watch::Watched};
/// # async fn connect<T>(_: T) -> keywheel_core::Result<Pool> { unimplemented!() }
/// # struct Pool; impl Pool { async fn replace<T>(&self, _: T) -> keywheel_core::Result<()> { unimplemented!() } }
/// # async fn example(client: Client) -> keywheel_core::Result<()> {
/// #[derive(serde::Deserialize)]
/// struct Login {
///     username: String,
///     password: SecretString,
/// }
///
/// let mut login: Watched<Login> = client.watch("vault://database/creds/orders").await?;
/// let pool = connect(login.current()).await?;
/// while let Ok(new) = login.changed().await {
///     pool.replace(new).await?;
///     login.confirm(); // the old lease may go
/// }
/// # Ok(())
/// # }
/// ```
///
/// The `T`s are the caller's: they are wiped when they are dropped if their type is, as [`SecretString`](crate::SecretString) and
/// [`SecretValue`](crate::SecretValue) are.
pub struct Watched<T> {
    #[expect(dead_code, reason = "held for its drop")]
    tended: Arc<Tended>,
    handle: KeeperHandle,
    hold: Hold,
    reference: SecretRef,
    newest: Mutex<Newest<T>>,
    seen: u64,
}

struct Newest<T> {
    /// The revision that was looked at last, whether or not it was good.
    looked_at: u64,
    good: Arc<Versioned<T>>,
}

impl<T: DeserializeOwned> Watched<T> {
    /// How long the first value may take.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// Waits for the first value.
    pub(crate) async fn begin(tended: Arc<Tended>, reference: SecretRef) -> Result<Self> {
        let mut handle = tended.handle();
        // Before the value is looked at: its lease does not go meanwhile.
        let hold = handle.hold();
        let first = tokio::time::timeout(Self::PATIENCE, first::<T>(&mut handle, &reference)).await;
        let good = match first {
            Ok(first) => Arc::new(first?),
            Err(_) => return Err(handle.kept().error.unwrap_or_else(|| late(&reference))),
        };
        hold.confirm(good.revision());
        let seen = good.revision();
        Ok(Self {
            tended,
            handle,
            hold,
            reference,
            newest: Mutex::new(Newest { looked_at: seen, good }),
            seen,
        })
    }

    /// Returns the newest good value: one that the source has sent and that fits `T`. Asks nobody.
    pub fn current(&self) -> Arc<Versioned<T>> {
        let mut newest = self.newest();
        if newest.looked_at != self.handle.revision() {
            newest.look(&self.handle.kept(), &self.reference);
        }
        Arc::clone(&newest.good)
    }

    /// Waits for a good value that this handle has not returned from here before, nor begun with. Of several in quick succession it returns the last one.
    ///
    /// # Errors
    /// The client is closed: there will be none.
    ///
    /// # Cancel safety
    /// A dropped call has returned nothing: the next one does.
    pub async fn changed(&mut self) -> Result<Arc<Versioned<T>>> {
        loop {
            let current = self.current();
            if current.revision() > self.seen {
                self.seen = current.revision();
                return Ok(current);
            }
            if !self.handle.next().await {
                return Err(ended(&self.reference));
            }
        }
    }

    /// Says that nothing older is used any more than what this handle returned last: the leases of older values may go. One who never says so has them kept,
    /// as long as their source extends them.
    pub fn confirm(&self) {
        self.hold.confirm(self.newest().good.revision());
    }
}

impl<T> Watched<T> {
    /// Returns what is watched.
    pub fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// Returns why the source could not be asked last; none when it could. The newest good value stays meanwhile.
    pub fn error(&self) -> Option<Error> {
        self.handle.kept().error
    }

    /// Has the source asked now, and waits until it answered or `limit` has passed. Nothing new is made for it.
    pub async fn refresh(&self, limit: Duration) {
        self.handle.refresh(limit).await;
    }

    fn newest(&self) -> MutexGuard<'_, Newest<T>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: DeserializeOwned> Newest<T> {
    /// Takes what is kept over, if it is good.
    fn look(&mut self, kept: &Kept, reference: &SecretRef) {
        self.looked_at = kept.revision;
        match versioned(kept, reference) {
            Some(Ok(good)) => self.good = Arc::new(good),
            Some(Err(error)) => {
                warn!(%reference, %error, "the new value does not fit; the last good one stays")
            }
            None => {}
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.newest();
        f.debug_struct("Watched")
            .field("reference", &format_args!("{}", self.reference))
            .field("version", newest.good.version())
            .finish_non_exhaustive()
    }
}

/// Waits for the first value, or the first failure that does not mend itself.
async fn first<T: DeserializeOwned>(
    handle: &mut KeeperHandle,
    reference: &SecretRef,
) -> Result<Versioned<T>> {
    loop {
        let kept = handle.kept();
        if let Some(first) = versioned(&kept, reference) {
            return first;
        }
        if let Some(error) = kept.error.filter(|error| !error.is_temporary()) {
            return Err(error);
        }
        if !handle.next().await {
            return Err(ended(reference));
        }
    }
}

/// Reads what is kept, if there is something.
fn versioned<T: DeserializeOwned>(kept: &Kept, reference: &SecretRef) -> Option<Result<Versioned<T>>> {
    let secret = kept.secret.as_ref()?;
    let read = typed::read(secret, reference.field()).map_err(|error| named(error, reference));
    Some(read.map(|value| Versioned::new(value, secret.version().clone(), kept.revision)))
}

fn ended(reference: &SecretRef) -> Error {
    let error = Error::new(ErrorKind::Unavailable, "watch", "the client is closed, or its runtime has ended");
    named(error.with_temporary(false), reference)
}

fn late(reference: &SecretRef) -> Error {
    let reason = format!("there was no value within {} s", Watched::<()>::PATIENCE.as_secs());
    named(Error::new(ErrorKind::Timeout, "watch", reason), reference)
}

#[cfg(test)]
mod tests;
