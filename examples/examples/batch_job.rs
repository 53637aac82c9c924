//! A job that needs a database for a while: `batch_job DATABASE REFERENCE STATEMENT…`.
//!
//! The credential is kept alive while the job runs, however long that is, and is gone when it ends, well or not: the lease is given back, and the login behind it.

#![allow(clippy::print_stdout, reason = "an example speaks to its terminal")]

use std::error::Error;

use keywheel_core::provider::Ending;
use keywheel_core::{Client, ExposeSecret as _, SecretString, Watched};
use tokio_postgres::{Config, NoTls};

#[derive(serde::Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, reference, statements @ ..] = arguments.as_slice() else {
        return Err("usage: batch_job DATABASE REFERENCE STATEMENT…".into());
    };
    let client = keywheel_providers::client_from_env()?;
    let done = run(&client, database, reference, statements).await;
    client.close(Ending::Revoke, Client::CLOSE).await;
    done
}

async fn run(
    client: &Client,
    database: &str,
    reference: &str,
    statements: &[String],
) -> Result<(), Box<dyn Error>> {
    // Its lease is renewed for as long as this is there.
    let login: Watched<Login> = client.watch(reference).await?;
    let current = login.current();
    let mut config: Config = database.parse()?;
    config.user(&current.username).password(current.password.expose_secret());
    let (session, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    for statement in statements {
        println!("{}", session.execute(statement, &[]).await?);
    }
    drop(session);
    Ok(connection.await??)
}
