//! A secret as the state of an axum application: `axum_state LISTEN REFERENCE`.
//!
//! Each request sees the newest good value: `GET /sender` answers whose mail it is, and which version of the secret says so. Nobody restarts anything.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use keywheel_core::provider::Ending;
use keywheel_core::{Client, ExposeSecret as _, SecretString, Watched};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(serde::Deserialize)]
struct Mail {
    sender: String,
    token: SecretString,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, reference] = arguments.as_slice() else {
        return Err("usage: axum_state LISTEN REFERENCE".into());
    };
    let client = keywheel_providers::client_from_env()?;
    let mut asked_to_stop = signal(SignalKind::terminate())?;
    let mail: Watched<Mail> = client.watch(reference).await?;
    let router = Router::new().route("/sender", get(sender)).with_state(Arc::new(mail));
    let listener = TcpListener::bind(listen).await?;
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        _ = asked_to_stop.recv() => {}
    }
    client.close(Ending::Revoke, Client::CLOSE).await;
    Ok(())
}

async fn sender(State(mail): State<Arc<Watched<Mail>>>) -> String {
    let mail = mail.current();
    // The only door to a secret: here is where a request to the mail server would have it.
    let letters = mail.token.expose_secret().len();
    format!("{} with a token of {letters} letters, version {}", mail.sender, mail.version())
}
