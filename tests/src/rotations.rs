//! Sets the stage for `keywheel rotate`: a database whose roles take turns, and a server that they are published at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Method;
use crate::keywheel::Finished;
use crate::{Launch, OpenBao, Postgres, wait};

/// A real database with the roles `orders_a` and `orders_b`, an administrator, and KV version 2 with what is published: `secret/orders/db`.
#[derive(Debug)]
pub struct Rotations {
    /// The server that everything is published at.
    pub bao: Arc<OpenBao>,
    /// The database.
    pub postgres: Arc<Postgres>,
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
    /// How often it logged in, or tried to.
    pub logins: usize,
    /// How often the database refused what was still published afterwards, and why.
    pub failed: Vec<String>,
    /// The users that it was.
    pub users: BTreeSet<String>,
}

impl Rotations {
    /// Sets the stage; `orders_a` is published, with the password `first`, and may read and write a table.
    pub fn set() -> Self {
        Self::on(OpenBao::start())
    }

    /// As [`Rotations::set`], on this server.
    pub fn on(bao: OpenBao) -> Self {
        let postgres = Postgres::start();
        postgres.execute(
            "CREATE TABLE orders (id int); CREATE ROLE orders_a LOGIN PASSWORD 'first'; GRANT SELECT, INSERT ON orders TO orders_a;
             CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'rotator'; GRANT pg_signal_backend TO rotator; GRANT SELECT, INSERT ON orders TO rotator WITH GRANT OPTION;",
        );
        bao.policy(POLICY, MAY_ROTATE);
        let token = bao.token(&json!({"policies": [POLICY], "no_parent": true})).token;
        let stage = Self { bao: Arc::new(bao), postgres: Arc::new(postgres), token };
        stage.bao.kv_put(
            "secret",
            "platform/pg-admin",
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

    /// Returns the roles that can log in.
    pub fn open_roles(&self) -> Vec<String> {
        let sql = "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL AND rolname LIKE 'orders%' ORDER BY 1";
        self.postgres.query(sql).into_iter().flatten().collect()
    }

    /// Returns a configuration of the rotation `orders`, straight to both servers; `more` are further keys.
    pub fn configuration(&self, schedule: &str, overlap: &str, more: &str) -> String {
        self.configuration_by(&self.bao.plain_address(), &self.postgres.address(), schedule, overlap, more)
    }

    /// As [`Rotations::configuration`], by other ways to the servers.
    pub fn configuration_by(
        &self,
        bao: &str,
        postgres: &str,
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
    strategy:
      postgres:
        address: "{postgres}"
        database: postgres
        admin: vault://secret/platform/pg-admin
        users: [orders_a, orders_b]
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
        let over = Arc::new(AtomicBool::new(false));
        let (bao, postgres) = (Arc::clone(&self.bao), Arc::clone(&self.postgres));
        let for_thread = Arc::clone(&over);
        let thread = thread::spawn(move || probe(&bao, &postgres, &for_thread));
        PublishedProbe { over, thread: Some(thread) }
    }
}

impl PublishedProbe {
    /// Ends the probe and returns what it saw.
    pub fn finish(mut self) -> PublishedSightings {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("a probe is finished once").join().expect("the probe's sightings")
    }
}

impl Drop for PublishedProbe {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn probe(bao: &OpenBao, postgres: &Postgres, over: &AtomicBool) -> PublishedSightings {
    let mut seen = PublishedSightings::default();
    while !over.load(Ordering::Relaxed) {
        let begun = wait::monotonic();
        if let Some((user, password)) = published(bao) {
            seen.logins += 1;
            let refused = postgres.login(&user, &password, Duration::from_secs(10)).err();
            // What was replaced between its reading and the login may have been refused in time.
            let is_still_published = || published(bao) == Some((user.clone(), password.clone()));
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
const POLICY: &str = "rotator";
/// What a rotator needs at the server.
pub const MAY_ROTATE: &str = r#"
path "secret/data/orders/db" { capabilities = ["read", "create", "update"] }
path "secret/data/keywheel/rotation/orders/db" { capabilities = ["read", "create", "update"] }
path "secret/data/platform/pg-admin" { capabilities = ["read"] }
"#;
