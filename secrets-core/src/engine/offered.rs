//! The secrets of the deliveries for whoever hands them on: their newest good values, as long as these may be used.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use smol_str::SmolStr;
use tokio::sync::watch;

use super::Engine;
use super::delivery::{Delivery, Input, State};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::KeeperHandle;
use crate::reference::{FieldPath, SecretRef};
use crate::secret::{Secret, Upkeep, Version};
use crate::value::Value;

/// One secret of a delivery, as its keeper has it. Looking at it asks no source.
#[derive(Clone, Debug)]
pub struct Offered {
    delivery: String,
    name: String,
    reference: SecretRef,
    handle: KeeperHandle,
    /// Of the engine before, until this one has a value.
    before: Arc<Mutex<Option<KeeperHandle>>>,
    state: watch::Receiver<State>,
    clock: Clock,
}

/// A value that may be used.
#[derive(Clone, Debug)]
pub struct Given {
    secret: Arc<Secret>,
    /// Counts the values, also where the source has written one under the same version.
    pub revision: u64,
}

/// Why there is no value to give.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Withheld {
    /// It could not be read yet.
    Unread,
    /// It has ended, and there is no newer one.
    Ended,
    /// The source refuses, and the files were taken away for that.
    Withdrawn,
}

impl Engine {
    /// Returns the secrets of the deliveries, in the order of the configuration.
    pub fn offered(&self) -> Vec<Offered> {
        let of_delivery = |delivery: &Delivery| {
            let watched = delivery.status();
            let offer = |(name, Input { config, handle }): (&SmolStr, &Input)| Offered {
                delivery: watched.name.clone(),
                name: name.to_string(),
                reference: config.reference.clone(),
                handle: handle.clone(),
                before: Arc::default(),
                state: watched.state.clone(),
                clock: self.clock.clone(),
            };
            watched.inputs.iter().map(offer).collect::<Vec<_>>()
        };
        self.deliveries.iter().flat_map(of_delivery).collect()
    }
}

impl Offered {
    /// Returns the name of the delivery.
    pub fn delivery(&self) -> &str {
        &self.delivery
    }

    /// Returns the secret's name in the delivery.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it refers to; with a field, that field is all that is offered.
    pub fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// Has the last value that the engine before had of the same secret serve until this one has its first.
    #[must_use]
    pub fn following(self, previous: &[Self]) -> Self {
        let whole = self.reference.whole();
        let before = previous
            .iter()
            .find(|offered| offered.reference.whole() == whole)
            .and_then(Self::keeper)
            .map(|(keeper, _)| keeper);
        Self { before: Arc::new(Mutex::new(before)), ..self }
    }

    /// Returns who has the newest good value, if anybody, and whether it is of this engine.
    fn keeper(&self) -> Option<(KeeperHandle, bool)> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        if self.handle.revision() > 0 {
            *before = None;
            return Some((self.handle.clone(), true));
        }
        before.clone().map(|before| (before, false))
    }

    /// Returns the newest good value.
    ///
    /// # Errors
    /// There is none, or none that may be used.
    pub fn newest(&self) -> Result<Given, Withheld> {
        if self.state.borrow().is_withdrawn {
            return Err(Withheld::Withdrawn);
        }
        let (keeper, is_own) = self.keeper().ok_or(Withheld::Unread)?;
        let kept = keeper.kept();
        if kept.deadline.is_some_and(|deadline| deadline <= self.clock.now()) {
            return Err(Withheld::Ended);
        }
        let secret = kept.secret.ok_or(Withheld::Unread)?;
        // Each engine counts for itself.
        let revision = if is_own { kept.revision } else { u64::MAX };
        Ok(Given { secret, revision })
    }

    /// Returns the fields of `given` that are offered, by their names.
    ///
    /// # Errors
    /// The value lacks the field that the reference names.
    pub fn fields<'a>(&'a self, given: &'a Given) -> Result<Vec<(&'a str, &'a Value)>> {
        match self.reference.field() {
            Some(field) => Ok(vec![(field.as_str(), given.secret.field(field)?)]),
            None => Ok(given.secret.fields().iter().collect()),
        }
    }

    /// Returns one field of `given`, by its name or a path into it.
    ///
    /// # Errors
    /// There is none, or it is not offered; the message names those that are.
    pub fn field<'a>(&'a self, given: &'a Given, path: &FieldPath) -> Result<&'a Value> {
        match self.reference.field() {
            Some(own) if own != path => {
                let reason = format!("the field {:?} alone is offered", own.as_str());
                Err(Error::new(ErrorKind::MissingField, "read", reason))
            }
            _ => given.secret.field(path),
        }
    }

    /// Has the source asked now, within its budget, and waits for the answer, for at most `limit`. No new value is made for it.
    pub async fn refresh(&self, limit: Duration) {
        self.handle.refresh(limit).await;
    }

    /// Waits until [`newest`](Self::newest) may say something else than before; for ever once the engine has ended.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.handle.changed() => {}
            changed = self.state.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}

impl Given {
    /// Returns the version of the value.
    pub fn version(&self) -> &Version {
        self.secret.version()
    }

    /// Returns when the value was made, where that is known.
    pub fn made_at(&self) -> Option<Timestamp> {
        match &self.secret.upkeep {
            Upkeep::Lease(lease) => Some(lease.term.began_at),
            Upkeep::Expiry { began_at, .. } => Some(*began_at),
            _ => None,
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread => "could not be read yet",
            Self::Ended => "has ended, and there is no newer value",
            Self::Withdrawn => "was taken away, since its source refuses it",
        })
    }
}
