//! A web application that keeps its database credential fresh by itself, with Keywheel as a library: `web-app LISTEN DATABASE REFERENCE`.
//!
//! ```sh
//! cargo run --example web-app -- 127.0.0.1:8080 'host=db.internal dbname=orders' vault://database/creds/orders
//! ```
//!
//! The credential at REFERENCE has a lease. Before it ends there is another one: the pool opens connections with it, moves over to them, and lets the old lease
//! go. Queries under way end on the old connections. `GET /` asks the database who it is.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use deadpool_postgres::{Manager, Pool, Runtime};
use keywheel_core::provider::Ending;
use keywheel_core::{Client, ExposeSecret as _, SecretString};
use keywheel_providers::adapters::postgres::{Failure, RotatingPool};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::{Config, NoTls};

#[derive(serde::Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, database, reference] = arguments.as_slice() else {
        return Err("usage: web-app LISTEN DATABASE REFERENCE".into());
    };
    let client = keywheel_providers::client_from_env()?;
    let mut asked_to_stop = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        served = serve(&client, listen, database, reference) => served,
        _ = asked_to_stop.recv() => Ok(()),
    };
    // The lease is given back, and the login behind it.
    client.close(Ending::Revoke, Client::CLOSE).await;
    ended
}

async fn serve(client: &Client, listen: &str, database: &str, reference: &str) -> Result<(), Failure> {
    let config: Config = database.parse()?;
    let login = client.watch(reference).await?;
    let (pool, following) = RotatingPool::open(login, move |login| connect(&config, login)).await?;
    let router = Router::new().route("/", get(who)).with_state(pool);
    let listener = TcpListener::bind(listen).await?;
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        closed = following.run() => Err(closed.into()),
    }
}

/// Makes the pool of one credential.
fn connect(config: &Config, login: &Login) -> Result<Pool, Failure> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut config = config.clone();
    config.user(&login.username).password(login.password.expose_secret()).connect_timeout(PATIENCE);
    let pool = Pool::builder(Manager::new(config, NoTls)).max_size(4).runtime(Runtime::Tokio1);
    Ok(pool.wait_timeout(Some(PATIENCE)).create_timeout(Some(PATIENCE)).build()?)
}

async fn who(State(pool): State<RotatingPool>) -> (StatusCode, String) {
    match user(&pool).await {
        Ok(user) => (StatusCode::OK, user),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn user(pool: &RotatingPool) -> Result<String, Failure> {
    Ok(pool.get().await?.query_one("SELECT current_user::text", &[]).await?.get(0))
}
