//! A web application that keeps its database credential fresh by itself, with Keywheel as a library: `rotating_pool LISTEN DATABASE REFERENCE`.
//!
//! The credential at REFERENCE (`vault://database/creds/orders`, say) has a lease. Before it ends there is another one: the application opens a new pool,
//! moves over to it, and confirms, which lets the old lease go. Requests under way end on the old pool. `GET /` asks the database who it is.

#![allow(clippy::print_stderr, reason = "an application says what it does")]

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use keywheel_core::provider::Ending;
use keywheel_core::{ExposeSecret as _, SecretString, Watched};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::{Client, Config, NoTls};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(serde::Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

/// Connections that requests share.
struct Pool {
    clients: Vec<Client>,
    next: AtomicUsize,
}

/// The pool that requests use now.
type Current = Arc<RwLock<Arc<Pool>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, database, reference] = arguments.as_slice() else {
        return Err("usage: rotating_pool LISTEN DATABASE REFERENCE".into());
    };
    let client = keywheel_providers::client_from_env()?;
    let mut asked_to_stop = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        served = serve(&client, listen, database, reference) => served,
        _ = asked_to_stop.recv() => Ok(()),
    };
    // The lease is given back, and the login behind it.
    client.close(Ending::Revoke, keywheel_core::Client::CLOSE).await;
    ended
}

async fn serve(
    client: &keywheel_core::Client,
    listen: &str,
    database: &str,
    reference: &str,
) -> Result<(), Failure> {
    let mut login: Watched<Login> = client.watch(reference).await?;
    let pool: Current = Arc::new(RwLock::new(Arc::new(Pool::open(database, &login.current()).await?)));
    let router = Router::new().route("/", get(who)).with_state(Arc::clone(&pool));
    let listener = TcpListener::bind(listen).await?;
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        followed = follow(&mut login, database, &pool) => followed,
    }
}

/// Moves the pool over to each new credential. What is not confirmed keeps the old one alive, as long as its source does.
async fn follow(login: &mut Watched<Login>, database: &str, pool: &Current) -> Result<(), Failure> {
    let mut new = login.changed().await?;
    loop {
        match Pool::open(database, &new).await {
            Ok(opened) => {
                unused(replace(pool, opened)).await;
                login.confirm();
                eprintln!("serves as {}", new.username);
                new = login.changed().await?;
            }
            Err(error) => {
                eprintln!("stays with what it has: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                new = login.current();
            }
        }
    }
}

/// Has requests use another pool from now on; returns the one before.
fn replace(pool: &Current, new: Pool) -> Arc<Pool> {
    std::mem::replace(&mut pool.write().unwrap_or_else(PoisonError::into_inner), Arc::new(new))
}

/// Waits until no request is under way on a pool that gets no new ones; for a second at most.
async fn unused(pool: Arc<Pool>) {
    for _ in 0..100 {
        if Arc::strong_count(&pool) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn who(State(pool): State<Current>) -> (StatusCode, String) {
    let pool = Arc::clone(&pool.read().unwrap_or_else(PoisonError::into_inner));
    match pool.user().await {
        Ok(user) => (StatusCode::OK, user),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

impl Pool {
    async fn open(database: &str, login: &Login) -> Result<Self, Failure> {
        const CONNECTIONS: usize = 4;
        let mut config: Config = database.parse()?;
        config
            .user(&login.username)
            .password(login.password.expose_secret())
            .connect_timeout(Duration::from_secs(2));
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            clients.push(client);
        }
        Ok(Self { clients, next: AtomicUsize::new(0) })
    }

    async fn user(&self) -> Result<String, Failure> {
        let client = &self.clients[self.next.fetch_add(1, Ordering::Relaxed) % self.clients.len()];
        Ok(client.query_one("SELECT current_user::text", &[]).await?.get(0))
    }
}
