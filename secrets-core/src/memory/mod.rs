//! The provider that is always built: secrets in this process, leases, and failures by appointment.

mod lender;

pub use self::lender::{Lending, Loans};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use self::lender::Lender;
use crate::clock::Clock;
use crate::config::Section;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Leases, Provider, only_parameters};
use crate::reference::SecretRef;
use crate::registry::{Blueprint, Context, Kind};
use crate::rotation::copy;
use crate::secret::{Secret, Version};
use crate::value::Value;

/// A source of secrets in memory, and the provider (and kind, `memory`) that reads it; made for tests and demonstrations.
///
/// Clones share one source: keep one to change the secrets, and hand another to whatever reads them. A path's versions are `1`, `2` and
/// so on, also across a removal. Each call is counted, then takes the [delay](Self::answer_after), then the appointed fault, then the
/// secret as it is at that moment.
#[derive(Clone)]
pub struct Memory {
    source: Arc<Mutex<Source>>,
    clock: Clock,
    hints: bool,
}

impl Memory {
    /// Makes an empty source.
    pub fn new() -> Self {
        Self { source: Arc::default(), clock: Clock::system(), hints: true }
    }

    /// Makes this handle a provider that is never told of a change, so that its secrets have to be polled.
    #[must_use]
    pub fn without_hints(mut self) -> Self {
        self.hints = false;
        self
    }

    /// Puts a secret at `path`, as its next version: `memory.set("orders/db", [("password", "hunter2")])`, or any map of [`Value`]s.
    pub fn set<N: Into<String>, V: Into<Value>>(
        &self,
        path: &str,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Version {
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.source().put(path, Some(fields))
    }

    /// Makes the secret at `path` one that every read makes anew, with a lease. Its fields are `username`, another one each time, and
    /// `password`.
    pub fn lend(&self, path: &str, lending: Lending) {
        self.source().lender.lend(path, lending);
    }

    /// Returns what was lent, and what became of it.
    pub fn loans(&self) -> Loans {
        self.source().lender.loans()
    }

    /// Ends the lease of this id, behind the borrower's back.
    pub fn end_lease(&self, id: &str) {
        self.source().lender.end(id);
    }

    /// Has another login take the place of the one that all leases so far were made with.
    pub fn supersede_login(&self) {
        self.source().lender.supersede();
    }

    /// Removes the secret at `path`.
    pub fn remove(&self, path: &str) {
        self.source().put(path, None);
    }

    /// Makes the next `count` calls fail with `error`, before what was appointed earlier goes on.
    pub fn fail_next(&self, count: usize, error: Error) {
        let mut source = self.source();
        source.faults.splice(0..0, std::iter::repeat_n(error, count));
    }

    /// Makes every call fail with `error` (after those that [`fail_next`](Self::fail_next) appointed) until
    /// [`clear_faults`](Self::clear_faults).
    pub fn fail_until_cleared(&self, error: Error) {
        self.source().outage = Some(error);
    }

    /// Ends all appointed failures.
    pub fn clear_faults(&self) {
        let mut source = self.source();
        source.faults.clear();
        source.outage = None;
    }

    /// Makes every answer take `delay`, by tokio's clock.
    pub fn answer_after(&self, delay: Duration) {
        self.source().delay = delay;
    }

    /// Returns how often a value was asked for without a known version, failures included.
    pub fn reads(&self) -> usize {
        self.source().reads
    }

    /// Returns how often a change since a known version was asked for, failures included.
    pub fn version_checks(&self) -> usize {
        self.source().version_checks
    }

    async fn answer(&self, reference: &SecretRef, count: impl FnOnce(&mut Source)) -> Result<Secret> {
        let delay = {
            let mut source = self.source();
            count(&mut source);
            source.delay
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let now = self.clock.now();
        self.source().read(reference.path(), now).map_err(|error| error.with("reference", reference.whole()))
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.source().secrets.keys()).finish()
    }
}

#[async_trait]
impl Provider for Memory {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        only_parameters(reference, &[])
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.answer(reference, |source| source.reads += 1).await
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        if self.source().lender.lends(reference.path()) {
            return Ok(None);
        }
        let secret = self.answer(reference, |source| source.version_checks += 1).await?;
        Ok((secret.version() != known).then_some(secret))
    }

    fn changes(&self, reference: &SecretRef) -> Option<watch::Receiver<()>> {
        self.hints.then(|| self.source().slot(reference.path()).hint.subscribe())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

impl Kind for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn configure(&self, _: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        Some(Box::new(self.clone()))
    }

    fn configure_from(&self, _: &Environment) -> Result<Box<dyn Blueprint>> {
        Ok(Box::new(self.clone()))
    }
}

impl Blueprint for Memory {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(Self { clock: context.clock, ..self.clone() }))
    }
}

#[derive(Default)]
struct Source {
    secrets: BTreeMap<String, Slot>,
    faults: Vec<Error>,
    outage: Option<Error>,
    delay: Duration,
    reads: usize,
    version_checks: usize,
    lender: Lender,
}

#[derive(Default)]
struct Slot {
    version: u64,
    fields: Option<BTreeMap<String, Value>>,
    hint: watch::Sender<()>,
}

impl Source {
    fn slot(&mut self, path: &str) -> &mut Slot {
        self.secrets.entry(path.to_owned()).or_default()
    }

    fn put(&mut self, path: &str, fields: Option<BTreeMap<String, Value>>) -> Version {
        let slot = self.slot(path);
        slot.version += u64::from(fields.is_some());
        slot.fields = fields;
        slot.hint.send_replace(());
        Version::new(slot.version)
    }

    /// Returns the fault that is appointed for this call.
    fn fault(&mut self) -> Result<()> {
        if !self.faults.is_empty() {
            return Err(self.faults.remove(0));
        }
        self.outage.clone().map_or(Ok(()), Err)
    }

    fn read(&mut self, path: &str, now: Timestamp) -> Result<Secret> {
        self.fault()?;
        if self.lender.lends(path) {
            return self.lender.mint(path, now);
        }
        let found = self.secrets.get(path).and_then(|slot| Some((slot.fields.as_ref()?, slot.version)));
        match found {
            Some((fields, version)) => Secret::try_new(copy(fields), Version::new(version)),
            None => Err(Error::new(ErrorKind::NotFound, "read", "there is no such secret")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(path: &str) -> SecretRef {
        format!("memory://{path}").parse().unwrap()
    }

    #[tokio::test]
    async fn versions_count_up_also_across_a_removal() {
        let memory = Memory::new();
        let at = reference("orders/db");
        assert_eq!(memory.set("orders/db", [("password", "a")]).as_str(), "1");
        assert_eq!(memory.read(&at).await.unwrap().version().as_str(), "1");
        memory.remove("orders/db");
        assert_eq!(memory.read(&at).await.unwrap_err().kind(), ErrorKind::NotFound);
        memory.set("orders/db", [("password", "a")]);
        let known = Version::new(1);
        let changed = memory.read_if_changed(&at, &known).await.unwrap().unwrap();
        assert_eq!(changed.version().as_str(), "2");
        assert!(memory.read_if_changed(&at, changed.version()).await.unwrap().is_none());
        assert_eq!((memory.reads(), memory.version_checks()), (2, 2));
    }

    #[tokio::test]
    async fn faults_come_in_their_order_and_end() {
        let memory = Memory::new();
        memory.set("a", [("f", "v")]);
        memory.fail_until_cleared(Error::new(ErrorKind::Unavailable, "read", "down"));
        memory.fail_next(2, Error::new(ErrorKind::RateLimited, "read", "slow down"));
        let mut kinds = Vec::new();
        for _ in 0..4 {
            kinds.push(memory.read(&reference("a")).await.unwrap_err().kind());
        }
        use ErrorKind::{RateLimited, Unavailable};
        assert_eq!(kinds, [RateLimited, RateLimited, Unavailable, Unavailable]);
        memory.clear_faults();
        assert!(memory.read(&reference("a")).await.is_ok());
    }

    #[tokio::test]
    async fn a_hint_fires_for_its_own_path_alone() {
        let memory = Memory::new();
        let (mut a, b) = (memory.changes(&reference("a")).unwrap(), memory.changes(&reference("b")).unwrap());
        memory.set("a", [("f", "v")]);
        a.changed().await.unwrap();
        assert!(!b.has_changed().unwrap());
        assert!(memory.clone().without_hints().changes(&reference("a")).is_none());
    }

    #[test]
    fn debug_shows_paths_alone() {
        let memory = Memory::new();
        memory.set("orders/db", [("password", "hunter2")]);
        assert_eq!(format!("{memory:?}"), r#"{"orders/db"}"#);
    }
}
