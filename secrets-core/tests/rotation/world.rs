//! A database with accounts, a store with compare-and-set, and what happens at each of their calls.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::client::Client;
use keywheel_core::config::{Config, Section};
use keywheel_core::environment::Environment;
use keywheel_core::registry::{Blueprint, Context, Kind, Registry};
use keywheel_core::rotation::{
    Document, Fields, Plan, Revision, Rotator, Store, Strategy, StrategyContext, StrategyKind, Turn, copy,
    text,
};
use keywheel_core::{Clock, Error, ErrorKind, Provider, Result, Secret, SecretRef, State};
use tokio::sync::Notify;

/// What happens at a call of the database or the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// It works.
    Works,
    /// It takes this long, and works.
    Takes(u64),
    /// It fails, and may work later; it was done all the same, or not.
    Fails { done: bool },
    /// It is refused.
    Refused,
    /// The rotator is killed before or after it was done.
    Kills { done: bool },
}

/// The database, the store, and their fate. Clones are one world.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    inner: Arc<Mutex<Inner>>,
    killed: Arc<Notify>,
    clock: Option<Clock>,
}

#[derive(Debug, Default)]
struct Inner {
    accounts: BTreeMap<String, String>,
    places: BTreeMap<String, Place>,
    fates: VecDeque<Fate>,
    calls: Vec<String>,
    published: usize,
    is_gapless: bool,
    broken: Option<String>,
    made: usize,
    /// The calls of this name fail.
    down: Option<String>,
}

#[derive(Debug, Default)]
struct Place {
    fields: Option<Fields>,
    revision: u64,
    written_at: Option<Timestamp>,
}

pub(crate) const TARGET: &str = "orders/db";
const ACKNOWLEDGED: &str = "acknowledged/";

impl World {
    /// Makes one with the account `a`, published; `is_gapless` has `b` beside it.
    pub(crate) fn new(is_gapless: bool) -> Self {
        let world = Self { clock: Some(Clock::paused(Timestamp::UNIX_EPOCH)), ..Self::default() };
        let mut inner = world.inner();
        inner.is_gapless = is_gapless;
        inner.accounts.insert("a".into(), "first".into());
        let fields: Fields = [("user", "a"), ("password", "first"), ("port", "5432")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        inner.places.insert(
            TARGET.into(),
            Place { fields: Some(fields), revision: 1, written_at: Some(Timestamp::UNIX_EPOCH) },
        );
        drop(inner);
        world
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone().unwrap()
    }

    /// Makes a rotator of this world.
    pub(crate) fn rotator(&self, schedule: &str) -> Rotator {
        self.rotator_with(schedule, "overlap: 60s")
    }

    /// As [`World::rotator`], with further keys of the rotation.
    pub(crate) fn rotator_with(&self, schedule: &str, more: &str) -> Rotator {
        let text = format!(
            "providers: {{w: {{kind: world}}}}\nrotations:\n- {{name: orders, target: \"w://{TARGET}\", schedule: {schedule}, strategy: {{accounts: {{}}}}, fields: {{username: user}}, {more}}}\n"
        );
        let registry = Registry::default().with(self.clone()).with_strategy(self.clone());
        let mut config =
            Config::parse(Path::new("test.yaml"), &text, &registry, &Environment::default()).unwrap();
        let client = Client::build(&config.providers, &self.clock(), &State::in_memory()).unwrap();
        Rotator::build(config.rotations.remove(0), &client, &self.clock()).unwrap()
    }

    /// Appoints what happens at the next calls.
    pub(crate) fn appoint(&self, fates: impl IntoIterator<Item = Fate>) {
        self.inner().fates = fates.into_iter().collect();
    }

    /// Has the calls of this name fail until [`World::mend`].
    pub(crate) fn break_down(&self, call: &str) {
        self.inner().down = Some(call.to_owned());
    }

    pub(crate) fn mend(&self) {
        self.inner().down = None;
    }

    /// Waits for a kill.
    pub(crate) async fn killed(&self) {
        self.killed.notified().await;
    }

    /// Returns user and password of what is published.
    pub(crate) fn published(&self) -> (String, String) {
        let inner = self.inner();
        let fields = inner.places[TARGET].fields.as_ref().unwrap();
        (text(fields, "user").unwrap().into(), text(fields, "password").unwrap().into())
    }

    /// Returns a field of the target.
    pub(crate) fn target_field(&self, name: &str) -> String {
        text(self.inner().places[TARGET].fields.as_ref().unwrap(), name).unwrap().into()
    }

    /// Tells whether what is published logs in.
    pub(crate) fn works(&self) -> bool {
        let (user, password) = self.published();
        self.inner().accounts.get(&user) == Some(&password)
    }

    /// Returns the accounts that somebody can log in as.
    pub(crate) fn open_accounts(&self) -> Vec<String> {
        self.inner().accounts.keys().cloned().collect()
    }

    /// Returns how often another value was published.
    pub(crate) fn publications(&self) -> usize {
        self.inner().published
    }

    /// Returns the calls so far, by name.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.inner().calls.clone()
    }

    /// Returns what did not hold at some moment.
    pub(crate) fn broken(&self) -> Option<String> {
        self.inner().broken.clone()
    }

    /// Returns the names of the record's fields.
    pub(crate) fn record(&self) -> Vec<String> {
        let inner = self.inner();
        let record = inner.places.get(&format!("record/{TARGET}"));
        record
            .and_then(|place| place.fields.as_ref())
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Replaces the target, as somebody else would.
    pub(crate) fn overwrite(&self, user: &str, password: &str) {
        let mut inner = self.inner();
        inner.accounts.insert(user.into(), password.into());
        let place = inner.places.get_mut(TARGET).unwrap();
        place.revision += 1;
        place.fields = Some(
            [("user", user), ("password", password)].map(|(name, value)| (name.into(), value.into())).into(),
        );
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Does `work` as fate has it, and sees that what is published works all along.
    async fn call<T>(&self, name: &str, work: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        let failed = || Error::new(ErrorKind::Unavailable, "call", "the network is down");
        let fate = {
            let mut inner = self.inner();
            inner.calls.push(name.to_owned());
            if inner.down.as_deref() == Some(name) {
                return Err(failed());
            }
            inner.fates.pop_front().unwrap_or(Fate::Works)
        };
        match fate {
            Fate::Takes(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Fate::Fails { done: false } => return Err(failed()),
            Fate::Refused => return Err(Error::new(ErrorKind::PermissionDenied, "call", "no")),
            Fate::Kills { done: false } => return self.die().await,
            Fate::Works | Fate::Fails { done: true } | Fate::Kills { done: true } => {}
        }
        let result = work(&mut self.inner());
        if self.inner().is_gapless && !self.works() {
            self.inner()
                .broken
                .get_or_insert_with(|| format!("what is published does not work after {name}"));
        }
        match fate {
            Fate::Fails { .. } => Err(failed()),
            Fate::Kills { .. } => self.die().await,
            _ => result,
        }
    }

    async fn die<T>(&self) -> Result<T> {
        self.killed.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Store for World {
    fn validate(&self, _: &SecretRef) -> Result<()> {
        Ok(())
    }

    async fn record_of(&self, target: &SecretRef) -> Result<SecretRef> {
        Ok(format!("w://record/{}", target.path()).parse().unwrap())
    }

    async fn acknowledgements_of(&self, target: &SecretRef) -> Result<SecretRef> {
        Ok(format!("w://{ACKNOWLEDGED}{}", target.path()).parse().unwrap())
    }

    async fn look(&self, place: &SecretRef) -> Result<Document> {
        let path = place.path().to_owned();
        let name = if path.starts_with(ACKNOWLEDGED) { "listen" } else { "look" };
        self.call(name, |inner| {
            let Some(place) = inner.places.get(&path) else {
                return Ok(Document { fields: None, revision: Revision::new(0), written_at: None });
            };
            let (fields, revision) = (place.fields.as_ref().map(copy), Revision::new(place.revision));
            Ok(Document { fields, revision, written_at: place.written_at })
        })
        .await
    }

    async fn write(
        &self,
        place: &SecretRef,
        fields: &Fields,
        expected: &Revision,
        _: &str,
    ) -> Result<Revision> {
        let (path, now) = (place.path().to_owned(), self.clock().now());
        let name = if path == TARGET { "publish" } else { "record" };
        self.call(name, |inner| {
            let place = inner.places.entry(path.clone()).or_default();
            if Revision::new(place.revision) != *expected {
                return Err(Error::new(ErrorKind::Conflict, "write", "changed"));
            }
            place.revision += 1;
            (place.fields, place.written_at) = (Some(copy(fields)), Some(now));
            let revision = Revision::new(place.revision);
            inner.published += usize::from(path == TARGET);
            Ok(revision)
        })
        .await
    }
}

#[async_trait]
impl Strategy for World {
    fn is_gapless(&self) -> bool {
        self.inner().is_gapless
    }

    async fn create(&self, old: Option<&Fields>) -> Result<Fields> {
        let mut inner = self.inner();
        let is_a = old.is_some_and(|old| text(old, "username").unwrap() == "a");
        let user = if inner.is_gapless && is_a { "b" } else { "a" };
        inner.made += 1;
        let password = format!("made {}", inner.made);
        Ok([("username", user.to_owned()), ("password", password)]
            .map(|(name, value)| (name.into(), value.as_str().into()))
            .into())
    }

    async fn check(&self, _: Turn<'_>) -> Result<()> {
        self.call("check", |_| Ok(())).await
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        self.call("set", |inner| inner.set(turn.new)).await
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        let (user, password) = account(turn.new);
        self.call("test", |inner| match inner.accounts.get(&user) == Some(&password) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unauthenticated, "test", "no")),
        })
        .await
    }

    async fn undo(&self, turn: Turn<'_>) -> Result<()> {
        self.call("undo", |inner| match turn.old {
            Some(old) if !inner.is_gapless => inner.set(old),
            _ => {
                inner.accounts.remove(&account(turn.new).0);
                Ok(())
            }
        })
        .await
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        self.call("retire", |inner| {
            let old = turn.old.map(|old| account(old).0);
            if let Some(old) = old.filter(|old| *old != account(turn.new).0) {
                inner.accounts.remove(&old);
            }
            Ok(())
        })
        .await
    }
}

impl Inner {
    fn set(&mut self, fields: &Fields) -> Result<()> {
        let (user, password) = account(fields);
        self.accounts.insert(user, password);
        Ok(())
    }
}

fn account(fields: &Fields) -> (String, String) {
    (text(fields, "username").unwrap().into(), text(fields, "password").unwrap().into())
}

#[async_trait]
impl Provider for World {
    fn validate(&self, _: &SecretRef) -> Result<()> {
        Ok(())
    }

    async fn read(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::new(ErrorKind::Unsupported, "read", "not in this world"))
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

impl Kind for World {
    fn name(&self) -> &'static str {
        "world"
    }

    fn configure(&self, _: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        Some(Box::new(self.clone()))
    }

    fn configure_from(&self, _: &Environment) -> Result<Box<dyn Blueprint>> {
        Ok(Box::new(self.clone()))
    }
}

impl Blueprint for World {
    fn build(&self, _: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(self.clone()))
    }
}

impl StrategyKind for World {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn configure(&self, _: Section<'_>) -> Option<Box<dyn Plan>> {
        Some(Box::new(self.clone()))
    }
}

impl Plan for World {
    fn fields(&self) -> Vec<&'static str> {
        vec!["username", "password"]
    }

    fn build(&self, _: StrategyContext) -> Result<Arc<dyn Strategy>> {
        Ok(Arc::new(self.clone()))
    }
}
