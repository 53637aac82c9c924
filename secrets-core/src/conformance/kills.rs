//! A rotator that is killed at any call of its store, and what the next one makes of it.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Notify;

use super::{Fields, Fixture, same_value};
use crate::client::Client;
use crate::clock::{Clock, later};
use crate::config::{Config, Section};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::registry::{Blueprint, Context, Kind, Registry};
use crate::rotation::{Ask, Document, Phase, Revision, Rotator, Store, text};
use crate::secret::Secret;
use crate::state::State;
use crate::value::Value;

/// Rotates generated values (`random`, which `registry` has to know) in the store of `provider`, with a kill before and after each call: what is
/// published is whole all along, it is published once, and nothing is left behind.
pub async fn kills_do_no_harm(
    provider: &Arc<dyn Provider>,
    fixture: &dyn Fixture,
    registry: impl Fn() -> Registry,
) {
    let case = |kill: Option<Kill>| {
        let (provider, registry) = (Arc::clone(provider), registry());
        async move { Case::new(provider, fixture, registry, kill).await.run().await }
    };
    let calls = case(None).await;
    assert!(calls > 8, "{calls}");
    let kills: Vec<Kill> =
        (0..calls).flat_map(|call| [false, true].map(|done| Kill { call, done })).collect();
    for some in kills.chunks(AT_ONCE) {
        join_all(some.iter().map(|kill| case(Some(*kill)))).await;
    }
}

/// At which call, and whether that one was done.
#[derive(Clone, Copy, Debug)]
struct Kill {
    call: usize,
    done: bool,
}

/// One rotation of one target.
struct Case {
    store: Mortal,
    target: SecretRef,
    registry: Registry,
    kill: Option<Kill>,
}

impl Case {
    async fn new(
        provider: Arc<dyn Provider>,
        fixture: &dyn Fixture,
        registry: Registry,
        kill: Option<Kill>,
    ) -> Self {
        let name = kill.map_or("killed-never".to_owned(), |kill| {
            format!("killed-{}-{}", if kill.done { "after" } else { "before" }, letters(kill.call))
        });
        let target = fixture.reference(&name);
        let store = Mortal::new(provider, target.clone(), kill);
        let fields: Fields = [
            ("password".to_owned(), "first".into()),
            ("port".to_owned(), Value::Number("5432".to_owned().into())),
        ]
        .into();
        let nothing = store.inner().look(&target).await.expect("an answer").revision;
        store.inner().write(&target, &fields, &nothing, "first").await.expect("a first value");
        Self { registry: registry.with(store.clone()), store, target, kill }
    }

    /// Returns how many calls it took.
    async fn run(self) -> usize {
        let now = Ask { now: true, ..Ask::default() };
        self.run_once(0, &now).await;
        let mut runs = self.finish(1).await;
        if self.password().await == "first" {
            assert!(self.kill.is_some(), "nothing was published");
            self.run_once(runs, &now).await;
            runs = self.finish(runs + 1).await;
        }
        assert_ne!(
            self.password().await,
            "first",
            "{:?}: nothing was published after {runs} runs",
            self.kill
        );
        let published = self.store.life().published.clone();
        assert_eq!(published.len(), 1, "{:?}: published again: {published:?}", self.kill);
        let record = self.store.inner().record_of(&self.target).await.expect("a place");
        let record = self.store.inner().look(&record).await.expect("an answer").fields.expect("a record");
        let names: Vec<&String> = record.keys().collect();
        assert_eq!(names, ["record"], "{:?}: the record keeps values", self.kill);
        self.store.life().calls
    }

    /// Runs rotators until there is nothing left to do.
    async fn finish(&self, mut runs: u32) -> u32 {
        for _ in 0..MOST_RUNS {
            let phase = self.run_once(runs, &Ask::default()).await;
            runs += 1;
            if matches!(phase, Some(Phase::Idle)) {
                return runs;
            }
        }
        panic!("{:?}: never at its end", self.kill);
    }

    /// Runs a rotator until it rests or is killed, at a time when the one before does not hold the rotation any more.
    async fn run_once(&self, runs: u32, ask: &Ask) -> Option<Phase> {
        let rotator = self.rotator(&Clock::paused(later(Clock::system().now(), APART * runs)));
        let phase = tokio::select! {
            progress = rotator.advance(ask) => {
                Some(progress.unwrap_or_else(|error| panic!("{:?}: {error}", self.kill)).standing.course.phase().clone())
            }
            () = self.store.died.notified() => None,
        };
        self.password().await;
        phase
    }

    fn rotator(&self, clock: &Clock) -> Rotator {
        let (provider, target) = (self.target.provider(), &self.target);
        let text = format!(
            "providers: {{{provider}: {{kind: mortal}}}}\nrotations:\n- {{name: killed, target: \"{target}\", schedule: {{every: 30d}}, \
             strategy: {{random: {{}}}}, fields: {{value: password}}, overlap: 60s}}\n"
        );
        let mut config =
            Config::parse(Path::new("test.yaml"), &text, &self.registry, &Environment::default())
                .unwrap_or_else(|error| panic!("{error:?}"));
        let client = Client::build(&config.providers, clock, &State::in_memory()).expect("a client");
        Rotator::build(config.rotations.remove(0), &client, clock).expect("a rotator")
    }

    /// Returns what is published, which is whole.
    async fn password(&self) -> String {
        let fields = self.store.inner().look(&self.target).await.expect("an answer").fields.expect("a value");
        let port = Value::Number("5432".to_owned().into());
        assert!(same_value(&fields["port"], &port), "{:?}: another field was lost", self.kill);
        text(&fields, "password").expect("a password").to_owned()
    }
}

/// A provider that ends whoever calls its store for the nth time. Clones are one.
#[derive(Clone)]
struct Mortal {
    provider: Arc<dyn Provider>,
    target: SecretRef,
    kill: Option<Kill>,
    life: Arc<Mutex<Life>>,
    died: Arc<Notify>,
}

#[derive(Default)]
struct Life {
    calls: usize,
    published: Vec<Revision>,
}

impl Mortal {
    fn new(provider: Arc<dyn Provider>, target: SecretRef, kill: Option<Kill>) -> Self {
        Self { provider, target, kill, life: Arc::default(), died: Arc::default() }
    }

    fn inner(&self) -> &dyn Store {
        self.provider.store().expect("the provider can publish")
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let call = {
            let mut life = self.life();
            life.calls += 1;
            life.calls - 1
        };
        match self.kill.filter(|kill| kill.call == call) {
            Some(Kill { done, .. }) => {
                if done {
                    work.await?;
                }
                self.died.notify_one();
                std::future::pending().await
            }
            None => work.await,
        }
    }
}

#[async_trait]
impl Store for Mortal {
    fn validate(&self, target: &SecretRef) -> Result<()> {
        self.inner().validate(target)
    }

    async fn record_of(&self, target: &SecretRef) -> Result<SecretRef> {
        self.call(self.inner().record_of(target)).await
    }

    async fn look(&self, place: &SecretRef) -> Result<Document> {
        self.call(self.inner().look(place)).await
    }

    async fn write(
        &self,
        place: &SecretRef,
        fields: &Fields,
        expected: &Revision,
        token: &str,
    ) -> Result<Revision> {
        let write = async {
            let written = self.inner().write(place, fields, expected, token).await;
            if let (Ok(revision), true) = (&written, *place == self.target) {
                self.life().published.push(revision.clone());
            }
            written
        };
        self.call(write).await
    }
}

#[async_trait]
impl Provider for Mortal {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        self.provider.validate(reference)
    }

    async fn read(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::new(ErrorKind::Unsupported, "read", "rotations look, and do not read"))
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

impl Kind for Mortal {
    fn name(&self) -> &'static str {
        "mortal"
    }

    fn configure(&self, _: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        Some(Box::new(self.clone()))
    }

    fn configure_from(&self, _: &Environment) -> Result<Box<dyn Blueprint>> {
        Ok(Box::new(self.clone()))
    }
}

impl Blueprint for Mortal {
    fn build(&self, _: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(self.clone()))
    }
}

impl fmt::Debug for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mortal").field("kill", &self.kill).finish_non_exhaustive()
    }
}

/// Writes a number as a fixture takes a name.
fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

const AT_ONCE: usize = 8;
/// Longer than a hold, and than the overlap.
const APART: Duration = Duration::from_secs(90);
const MOST_RUNS: usize = 10;
