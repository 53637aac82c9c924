//! A web application whose database credential is replaced while it serves: `sighup_pool LISTEN DATABASE DIRECTORY [BREAKS_ON]`.
//!
//! Keywheel delivers `username` and `password` to DIRECTORY and sends SIGHUP after each change. The application then opens a new pool and moves over
//! to it; requests under way end on the old one. `GET /` asks the database who it is; `GET /healthz` answers 200 while that works with the newest
//! credential. With BREAKS_ON, the application is one that does not work with users whose names begin so.

#![allow(clippy::print_stderr, reason = "an application says what it does")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::{Client, Config, NoTls};

type Failure = Box<dyn Error + Send + Sync>;

/// Connections that requests share.
struct Pool {
    clients: Vec<Client>,
    next: AtomicUsize,
}

struct App {
    database: String,
    directory: PathBuf,
    breaks_on: Option<String>,
    pool: RwLock<Arc<Pool>>,
    is_current: AtomicBool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, database, directory, breaks_on @ ..] = arguments.as_slice() else {
        return Err("usage: sighup_pool LISTEN DATABASE DIRECTORY [BREAKS_ON]".into());
    };
    // Before anything that takes time: a change that comes now is not missed.
    let mut changes = signal(SignalKind::hangup())?;
    let (_, pool) = connect(database, Path::new(directory)).await?;
    let app = Arc::new(App {
        database: database.clone(),
        directory: directory.into(),
        breaks_on: breaks_on.first().cloned(),
        pool: RwLock::new(Arc::new(pool)),
        is_current: AtomicBool::new(true),
    });
    let router = Router::new()
        .route("/", get(async |State(app): State<Arc<App>>| answer(app.who().await)))
        .route("/healthz", get(async |State(app): State<Arc<App>>| answer(app.health().await)))
        .with_state(Arc::clone(&app));
    let listener = TcpListener::bind(listen).await?;
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        () = async {
            while changes.recv().await.is_some() {
                app.reload().await;
            }
        } => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

impl App {
    async fn who(&self) -> Result<String, Failure> {
        let pool = Arc::clone(&self.pool.read().unwrap_or_else(PoisonError::into_inner));
        let user = pool.user().await?;
        match &self.breaks_on {
            Some(prefix) if user.starts_with(prefix) => {
                Err("this application does not work with that user".into())
            }
            _ => Ok(user),
        }
    }

    async fn health(&self) -> Result<String, Failure> {
        match self.is_current.load(Ordering::Acquire) {
            true => self.who().await,
            false => Err("the newest credential lets nobody in".into()),
        }
    }

    async fn reload(&self) {
        // Until the new pool is there, nothing is proved.
        self.is_current.store(false, Ordering::Release);
        let connected = connect(&self.database, &self.directory).await;
        self.is_current.store(connected.is_ok(), Ordering::Release);
        match connected {
            Ok((user, pool)) => {
                *self.pool.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pool);
                eprintln!("serves as {user}");
            }
            Err(error) => eprintln!("stays with what it has: {error}"),
        }
    }
}

impl Pool {
    async fn user(&self) -> Result<String, Failure> {
        let client = &self.clients[self.next.fetch_add(1, Ordering::Relaxed) % self.clients.len()];
        Ok(client.query_one("SELECT current_user::text", &[]).await?.get(0))
    }
}

/// Opens a pool with the delivered credential: both halves of one generation.
async fn connect(database: &str, directory: &Path) -> Result<(String, Pool), Failure> {
    const CONNECTIONS: usize = 4;
    let generation = directory.join(std::fs::read_link(directory.join("..data"))?);
    let user = std::fs::read_to_string(generation.join("username"))?;
    let password = std::fs::read_to_string(generation.join("password"))?;
    let mut config: Config = database.parse()?;
    config.user(&user).password(&password);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        clients.push(client);
    }
    Ok((user, Pool { clients, next: AtomicUsize::new(0) }))
}

fn answer(result: Result<String, Failure>) -> (StatusCode, String) {
    match result {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
