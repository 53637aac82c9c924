//! How one kind of credential is replaced at the system that it is for.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::store::{Document, Fields, Revision};
use crate::client::Client;
use crate::clock::Clock;
use crate::config::Section;
use crate::error::{Error, ErrorKind, Result};
use crate::program::Program;
use crate::reference::SecretRef;

/// The values of one rotation, under the strategy's own names.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Names the rotation; the same each time that a step of it is done again.
    pub token: &'a str,
    /// What [`create`](Strategy::create) made.
    pub new: &'a Fields,
    /// What was published when the rotation began, if anything was.
    pub old: Option<&'a Fields>,
    /// What the target was at when the rotation began.
    pub base: &'a Revision,
    /// Whether the old value is known to somebody whom it is not for: what was opened with it is to end, too.
    pub is_emergency: bool,
}

/// The steps by which a credential is replaced.
///
/// Every step may come twice with the same [`Turn`], also when the first one worked and nobody was left to note it; it then changes nothing
/// more. Failures are classified (see [`Error`]) and not tried again here. A call that is dropped at any await leaves what a later one mends.
#[async_trait]
pub trait Strategy: fmt::Debug + Send + Sync {
    /// Tells whether the old credential works beside the new one until it is retired. Where it does not, there is a moment between
    /// [`set`](Self::set) and the publication at which what is published does not work.
    fn is_gapless(&self) -> bool;

    /// Returns how long one step may take, and how long others keep away from a rotator that was not heard of since it began one.
    fn longest_step(&self) -> Duration {
        Duration::from_secs(45)
    }

    /// Asks what the source is at, for a strategy without fields: its source keeps the value, and nothing is published. The revision is
    /// another one after each rotation, as far as the source tells, and says whether [`set`](Self::set) was done.
    ///
    /// # Errors
    /// There is nothing to rotate, or no answer.
    async fn look(&self) -> Result<Document> {
        Err(Error::new(ErrorKind::Unsupported, "rotate", "the strategy publishes what it makes"))
    }

    /// Makes a new value, and changes nothing: it may never be set.
    ///
    /// # Errors
    /// What is published is nothing that the strategy can go on from.
    async fn create(&self, old: Option<&Fields>) -> Result<Fields>;

    /// Checks, before anything is changed, that the steps can be done.
    ///
    /// # Errors
    /// What is missing, and what to do.
    async fn check(&self, turn: Turn<'_>) -> Result<()>;

    /// Makes the system accept the new value.
    ///
    /// # Errors
    /// Nothing was changed, or it is not known whether.
    async fn set(&self, turn: Turn<'_>) -> Result<()>;

    /// Uses the new value as its readers will.
    ///
    /// # Errors
    /// It does not work.
    async fn test(&self, turn: Turn<'_>) -> Result<()>;

    /// Undoes [`set`](Self::set), whether or not it was done: the new value is not accepted any more, and the old one is.
    ///
    /// # Errors
    /// It is not known to be undone.
    async fn undo(&self, turn: Turn<'_>) -> Result<()>;

    /// Has the system not accept the old value any more, now that its readers have the new one.
    ///
    /// # Errors
    /// It may still be accepted.
    async fn retire(&self, turn: Turn<'_>) -> Result<()>;
}

/// A kind of strategy, such as `postgres`: it reads its settings and hands out a [`Plan`].
pub trait StrategyKind: fmt::Debug + Send + Sync {
    /// Returns the key below `strategy:` that names it.
    fn name(&self) -> &'static str;

    /// Returns further keys that mean the same.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Describes its settings, for [`schema`](crate::schema); those of a strategy that says nothing may be any.
    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut crate::schema::SchemaGenerator) -> crate::schema::Schema {
        let _ = generator;
        crate::schema::open()
    }

    /// Reads all settings below that key, to the end; mistakes go to the section, which then makes the whole configuration fail.
    fn configure(&self, settings: Section<'_>) -> Option<Box<dyn Plan>>;
}

/// The parsed settings of a strategy, from which it can be built.
pub trait Plan: fmt::Debug + Send + Sync {
    /// Returns the secrets that the strategy itself uses.
    fn references(&self) -> Vec<&SecretRef> {
        Vec::new()
    }

    /// Returns the programs that the strategy runs.
    fn programs(&mut self) -> Vec<&mut Program> {
        Vec::new()
    }

    /// Returns the files that are read when it is built.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Returns the names of the fields that the strategy makes; none where the source keeps the value itself.
    fn fields(&self) -> Vec<&str>;

    /// Tells whether something of the old value is left when the new one is published, to be retired after `overlap`.
    fn leaves_old(&self) -> bool {
        true
    }

    /// Builds the strategy; asks no server.
    ///
    /// # Errors
    /// A file that is missing or does not parse.
    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>>;
}

/// What every strategy is given when it is built.
#[derive(Clone, Debug)]
pub struct StrategyContext {
    /// What is rotated.
    pub target: SecretRef,
    /// Reads the secrets that it uses itself.
    pub client: Client,
    /// The only source of time.
    pub clock: Clock,
}

/// Returns the text of a field.
///
/// # Errors
/// [`ErrorKind::MissingField`](crate::ErrorKind::MissingField) when there is none, or it is no text.
pub fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str> {
    let value = match fields.get(name) {
        Some(crate::Value::Bytes(value)) => value.expose_text(),
        _ => None,
    };
    value.ok_or_else(|| {
        let reason = format!("the field {name:?} is missing, or is no text");
        Error::new(ErrorKind::MissingField, "rotate", reason)
    })
}
