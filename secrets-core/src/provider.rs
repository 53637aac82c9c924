//! A place that secrets live in.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::examine::Finding;
use crate::lease::{Lease, Parent, Term};
use crate::reference::SecretRef;
use crate::rotation::{Fields, Store};
use crate::secret::{Secret, Version};

/// Reads secrets from one place.
///
/// An implementation classifies its failures (see [`Error`]) and never retries: [`Retry`](crate::layer::Retry) decides. Every call may be
/// dropped at any await without harm.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Checks, without asking anybody, that `reference` is one that this provider could read.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what is wrong: an unknown parameter, say.
    fn validate(&self, reference: &SecretRef) -> Result<()>;

    /// Reads the secret with all of its fields; the reference's own field is not looked at.
    ///
    /// # Errors
    /// Says what failed; temporary where the same request may succeed later.
    async fn read(&self, reference: &SecretRef) -> Result<Secret>;

    /// Reads the secret only if it is at another version than `known`; `None` says that it is not.
    ///
    /// A provider that can ask for a version without the value does so here. It never makes a new value: where every read mints
    /// one, the provider answers `None`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        let secret = self.read(reference).await?;
        Ok((secret.version() != known).then_some(secret))
    }

    /// Returns a hint that fires when the secret may have changed, for a provider that is told; it is subscribed to before the first
    /// read, so that no change is lost between.
    fn changes(&self, reference: &SecretRef) -> Option<watch::Receiver<()>> {
        let _ = reference;
        None
    }

    /// Names what `reference` is best asked with at one moment: secrets of one group cost one request together. The answer may change.
    fn group(&self, reference: &SecretRef) -> Option<String> {
        let _ = reference;
        None
    }

    /// Has the source replace the value by its own means, waits until the new one is what a read yields, and returns its version. Who asks
    /// again with the same `token` (32 to 64 letters, digits and hyphens) waits for the same new value, and for no second one.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the source does no such thing; otherwise how far it came, and what to do about it.
    ///
    /// # Cancel safety
    /// A dropped call leaves the source to finish by itself.
    async fn rotate(&self, reference: &SecretRef, token: &str) -> Result<Version> {
        let _ = token;
        let reason = "the source does not replace secrets by itself";
        Err(Error::new(ErrorKind::Unsupported, "rotate", reason).with("reference", reference))
    }

    /// Says at which version a secret is that the source replaces by its own means, and when it did that last, without reading the value.
    ///
    /// # Errors
    /// As for [`rotate`](Self::rotate).
    async fn rotated(&self, reference: &SecretRef) -> Result<(Version, Option<Timestamp>)> {
        let reason = "the source does not replace secrets by itself";
        Err(Error::new(ErrorKind::Unsupported, "rotate", reason).with("reference", reference))
    }

    /// Has the source do what a write of `fields` to that path does, and returns what it answers: the way to an operation of an engine (a
    /// role is rotated, a login tried). It is never a write that replaces a secret; that is a [`Store`]'s.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the source has no such operations; otherwise as for [`read`](Self::read), and where no answer came, it
    /// may have been done.
    async fn invoke(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        let _ = fields;
        let reason = "the source has no operations that could be asked for";
        Err(Error::new(ErrorKind::Unsupported, "invoke", reason).with("reference", reference))
    }

    /// Returns what tends to the leases of the secrets read here; none where the source makes no leases.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// Returns what writes secrets here; none where they can only be read.
    fn store(&self) -> Option<&dyn Store> {
        None
    }

    /// Names the source and who the provider is to it, without a secret: what was made elsewhere or for somebody else is not taken over
    /// after a restart.
    fn realm(&self) -> String {
        String::new()
    }

    /// Goes the way to the source step by step (credentials, name, connection, login) and says how each step went, up to the first one that
    /// failed. It uses up nothing that is for one use.
    async fn examine(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// Says what a read of `reference` would use up, so that nobody reads it only to see whether that works; none where nothing is.
    fn uses_up(&self, reference: &SecretRef) -> Option<&'static str> {
        let _ = reference;
        None
    }

    /// Keeps the provider's own session alive (renews its token, logs in again in time) until it is dropped.
    async fn maintain(&self) {
        std::future::pending().await
    }

    /// Ends the provider's session; with [`Ending::Revoke`], what it logged in for and the leases that were made with that are revoked.
    /// Reads after it are errors or log in again.
    ///
    /// # Errors
    /// Says what was left behind.
    async fn close(&self, ending: Ending) -> Result<()> {
        let _ = ending;
        Ok(())
    }
}

/// What becomes of logins and leases when a session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// They are given back to the source.
    Revoke,
    /// They stay: somebody goes on using them.
    Keep,
}

/// Tends to the leases that a source makes.
///
/// As in [`Provider`], failures are classified and never retried.
#[async_trait]
pub trait Leases: fmt::Debug + Send + Sync {
    /// Sees the life of the login's token that `lease` was made with, which the lease ends with; none where that is not known any more.
    fn parent(&self, lease: &Lease) -> Option<watch::Receiver<Parent>>;

    /// Extends `lease` by as much as it was first granted.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it has ended, [`ErrorKind::Unsupported`] when it cannot be renewed.
    async fn renew(&self, lease: &Lease) -> Result<Term>;

    /// Asks how `lease` stands, and changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it has ended, [`ErrorKind::PermissionDenied`] when the source does not tell.
    async fn look_up(&self, lease: &Lease) -> Result<Term>;

    /// Ends `lease`; one that has ended is ended.
    ///
    /// # Errors
    /// It stays until its time is over.
    async fn revoke(&self, lease: &Lease) -> Result<()>;
}

#[async_trait]
impl<P: Provider + ?Sized> Provider for Arc<P> {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        (**self).validate(reference)
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        (**self).read(reference).await
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        (**self).read_if_changed(reference, known).await
    }

    fn changes(&self, reference: &SecretRef) -> Option<watch::Receiver<()>> {
        (**self).changes(reference)
    }

    fn group(&self, reference: &SecretRef) -> Option<String> {
        (**self).group(reference)
    }

    async fn rotate(&self, reference: &SecretRef, token: &str) -> Result<Version> {
        (**self).rotate(reference, token).await
    }

    async fn rotated(&self, reference: &SecretRef) -> Result<(Version, Option<Timestamp>)> {
        (**self).rotated(reference).await
    }

    async fn invoke(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        (**self).invoke(reference, fields).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        (**self).leases()
    }

    fn store(&self) -> Option<&dyn Store> {
        (**self).store()
    }

    fn realm(&self) -> String {
        (**self).realm()
    }

    async fn examine(&self) -> Vec<Finding> {
        (**self).examine().await
    }

    fn uses_up(&self, reference: &SecretRef) -> Option<&'static str> {
        (**self).uses_up(reference)
    }

    async fn maintain(&self) {
        (**self).maintain().await;
    }

    async fn close(&self, ending: Ending) -> Result<()> {
        (**self).close(ending).await
    }
}

/// Checks that a reference has no parameters but `known` ones.
///
/// # Errors
/// [`ErrorKind::Config`]; the message names the known ones.
pub fn only_parameters(reference: &SecretRef, known: &[&str]) -> Result<()> {
    let Some(unknown) = reference.parameters().keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    let reason = format!("unknown parameter {unknown:?}; known here: {known}");
    Err(Error::new(ErrorKind::Config, "check reference", reason).with("reference", reference))
}
