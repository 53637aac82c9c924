//! Sets the stage for `keywheel rotate`: a database whose accounts take turns, and a server that they are published at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::databases::Database;
use crate::http::Method;
use crate::keywheel::Finished;
use crate::{Launch, OpenBao, Postgres, wait};

/// A [`Database`], and KV version 2 with what is published (`secret/orders/db`) and the administrator's login.
#[derive(Debug)]
pub struct Rotations<D = Postgres> {
    /// The server that everything is published at.
    pub bao: Arc<OpenBao>,
    /// The database.
    pub database: Arc<D>,
    token: String,
}

/// A thread that logs in with what is published until it is finished.
#[derive(Debug)]
pub struct PublishedProbe {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<PublishedSightings>>,
}

/// What it saw.
#[derive(Clone, Debug, Default)]
pub struct PublishedSightings {
    /// How often it logged in.
    pub logins: usize,
    /// How often the database refused what was still published afterwards, and why.
    pub failed: Vec<String>,
    /// The users that it was.
    pub users: BTreeSet<String>,
}

impl Rotations {
    /// Sets the stage with PostgreSQL; `orders_a` is published, with the password `first`.
    pub fn set() -> Self {
        Self::on(OpenBao::start())
    }
}

impl<D: Database> Rotations<D> {
    /// As [`Rotations::set`], on this server, with the database that the type says.
    pub fn on(bao: OpenBao) -> Self {
        bao.policy(POLICY, MAY_ROTATE);
        let token = bao.token(&json!({"policies": [POLICY], "no_parent": true})).token;
        let stage = Self { bao: Arc::new(bao), database: Arc::new(D::set()), token };
        stage.bao.kv_put(
            "secret",
            "platform/db-admin",
            &json!({"username": "rotator", "password": "rotator"}),
        );
        stage.publish("orders_a", "first");
        stage
    }

    /// Publishes an account by hand, beside another field.
    pub fn publish(&self, username: &str, password: &str) -> u64 {
        let fields = json!({"username": username, "password": password, "port": 5432});
        self.bao.kv_put("secret", "orders/db", &fields)
    }

    /// Returns user and password of what is published.
    pub fn published(&self) -> (String, String) {
        published(&self.bao).expect("a published account")
    }

    /// Returns the number of the newest version of what is published.
    pub fn version(&self) -> u64 {
        let answer = self.bao.read("secret/data/orders/db").expect("a published account");
        answer["data"]["metadata"]["version"].as_u64().expect("a version")
    }

    /// Returns what the record holds.
    pub fn record(&self) -> Value {
        let answer = self.bao.read("secret/data/keywheel/rotation/orders/db").unwrap_or_default();
        answer["data"]["data"].clone()
    }

    /// Returns the accounts that let somebody in, each as often as it has passwords.
    pub fn open_accounts(&self) -> Vec<String> {
        self.database.open_accounts()
    }

    /// Has whatever was begun brought to its end, and sees that nothing is left of it but what is published.
    ///
    /// # Panics
    ///
    /// When something is left, or what is published does not log in.
    pub fn finish(&self, configuration: &str, what: &str) {
        let done = self.rotate(configuration, &["--json"]);
        assert_eq!(done.code, Some(0), "{what}: {}", done.stderr);
        let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert_eq!(report[0]["phase"], "idle", "{what}: {report}");
        let (user, password) = self.published();
        let login = self.database.login(&user, &password, BOUND);
        assert_eq!(login, Ok(()), "{what}: what is published does not log in");
        assert_eq!(self.open_accounts(), [user], "{what}: something was left behind");
        let record = self.record();
        let fields: Vec<&String> =
            record.as_object().map(|record| record.keys().collect()).unwrap_or_default();
        assert!(fields.iter().all(|field| *field == "record"), "{what}: the record keeps values");
    }

    /// Returns what `keywheel rotate status --json` says.
    ///
    /// # Panics
    ///
    /// When it says nothing.
    pub fn status(&self, configuration: &str) -> Value {
        let status = self.rotate(configuration, &["status", "--json"]);
        assert_eq!(status.code, Some(0), "{}", status.stderr);
        let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
        status[0].clone()
    }

    /// Returns a configuration of the rotation `orders`, straight to both servers; `more` are further keys.
    pub fn configuration(&self, schedule: &str, overlap: &str, more: &str) -> String {
        self.configuration_by(&self.bao.plain_address(), &self.database.address(), schedule, overlap, more)
    }

    /// As [`Rotations::configuration`], by other ways to the servers.
    pub fn configuration_by(
        &self,
        bao: &str,
        database: &str,
        schedule: &str,
        overlap: &str,
        more: &str,
    ) -> String {
        self.configuration_of(bao, &D::strategy(database), schedule, overlap, more)
    }

    /// As [`Rotations::configuration`], by another way to the server and with another strategy.
    pub fn configuration_of(
        &self,
        bao: &str,
        strategy: &str,
        schedule: &str,
        overlap: &str,
        more: &str,
    ) -> String {
        let token = &self.token;
        format!(
            r#"
providers:
  vault: {{kind: vault, address: "{bao}", auth: {{method: token, token: "{token}"}}}}
rotations:
  - name: orders
    target: vault://secret/orders/db
    schedule: {schedule}
    strategy:{strategy}
    overlap: {overlap}
{more}"#
        )
    }

    /// Runs `keywheel rotate` to its end.
    pub fn rotate(&self, configuration: &str, arguments: &[&str]) -> Finished {
        Launch::new("rotate").args(arguments).config(configuration).output()
    }

    /// Changes what the rotator may do at the server.
    pub fn allow(&self, rules: &str) {
        self.bao.policy(POLICY, rules);
    }

    /// Starts to log in with what is published.
    pub fn probe(&self) -> PublishedProbe {
        let (bao, database) = (Arc::clone(&self.bao), Arc::clone(&self.database));
        PublishedProbe::start(move || published(&bao), database)
    }
}

impl PublishedProbe {
    /// Starts to log in to `database` with what is `published`, every 50 ms.
    pub fn start<D: Database>(
        published: impl Fn() -> Option<(String, String)> + Send + 'static,
        database: Arc<D>,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let for_thread = Arc::clone(&over);
        let thread = thread::spawn(move || probe(published, &*database, &for_thread));
        Self { over, thread: Some(thread) }
    }

    /// Ends the probe and returns what it saw.
    ///
    /// # Panics
    ///
    /// When nobody ever logged in.
    pub fn finish(mut self) -> PublishedSightings {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a probe is finished once");
        let seen = thread.join().expect("the probe's sightings");
        assert!(seen.logins > 0, "nobody logged in: {:?}", seen.failed);
        seen
    }
}

impl Drop for PublishedProbe {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn probe(
    published: impl Fn() -> Option<(String, String)>,
    database: &impl Database,
    over: &AtomicBool,
) -> PublishedSightings {
    let mut seen = PublishedSightings::default();
    while !over.load(Ordering::Relaxed) {
        let begun = wait::monotonic();
        if let Some((user, password)) = published() {
            let refused = database.login(&user, &password, BOUND).err();
            seen.logins += usize::from(refused.is_none());
            // What was replaced between its reading and the login may have been refused in time.
            let is_still_published = || published() == Some((user.clone(), password.clone()));
            if let Some(why) = refused.filter(|_| is_still_published()) {
                seen.failed.push(format!("{user}: {why}"));
            }
            seen.users.insert(user);
        }
        let spent = wait::monotonic().saturating_sub(begun);
        thread::sleep(INTERVAL.saturating_sub(spent));
    }
    seen
}

fn published(bao: &OpenBao) -> Option<(String, String)> {
    let answer = bao.send(Method::GET, "secret/data/orders/db", None);
    let fields = (answer.status == 200).then(|| answer.json()["data"]["data"].clone())?;
    Some((fields["username"].as_str()?.to_owned(), fields["password"].as_str()?.to_owned()))
}

const INTERVAL: Duration = Duration::from_millis(50);
const BOUND: Duration = Duration::from_secs(10);
const POLICY: &str = "rotator";
/// What a rotator needs at the server.
pub const MAY_ROTATE: &str = r#"
path "secret/data/orders/db" { capabilities = ["read", "create", "update"] }
path "secret/data/keywheel/rotation/orders/db" { capabilities = ["read", "create", "update"] }
path "secret/data/platform/db-admin" { capabilities = ["read"] }
"#;
