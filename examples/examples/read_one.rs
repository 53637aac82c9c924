//! Reads one secret from Rust, with the settings that the environment has already (`VAULT_ADDR`, `VAULT_TOKEN`, …):
//!
//! ```sh
//! cargo run --example read_one -- file:///etc/hostname
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to its terminal")]

use std::collections::BTreeMap;
use std::time::Duration;

use keywheel_core::client::Client;
use keywheel_core::config::add_from_environment;
use keywheel_core::environment::Environment;
use keywheel_core::provider::Ending;
use keywheel_core::{Clock, SecretRef, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference: SecretRef =
        std::env::args().nth(1).ok_or("usage: read_one PROVIDER://PATH#FIELD")?.parse()?;

    let mut providers = BTreeMap::new();
    add_from_environment(
        &mut providers,
        &reference,
        &keywheel_providers::registry(),
        &Environment::of_process(),
    )?;
    let client = Client::build(&providers, &Clock::system(), &State::in_memory())?;

    let value = client.get(&reference).await?;
    // `expose_secret` is the only door to the bytes; this program stays away from it.
    println!("{reference} has {} bytes", value.len());

    client.close(Ending::Revoke, Duration::from_secs(2)).await;
    Ok(())
}
