//! Reads one secret from Rust, with the settings that the environment has already (`VAULT_ADDR`, `VAULT_TOKEN`, …):
//!
//! ```sh
//! cargo run --example read_one -- file:///etc/hostname
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to its terminal")]

use keywheel_core::Client;
use keywheel_core::provider::Ending;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference = std::env::args().nth(1).ok_or("usage: read_one PROVIDER://PATH#FIELD")?;
    let client = keywheel_providers::client_from_env()?;
    let value = client.get(&reference).await?;
    // `expose_secret` is the only door to the bytes; this program stays away from it.
    println!("{reference} has {} bytes", value.len());
    client.close(Ending::Revoke, Client::CLOSE).await;
    Ok(())
}
