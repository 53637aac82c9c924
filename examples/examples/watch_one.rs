//! Keeps one secret fresh and says when it changes, with the settings that the environment has already: `watch_one REFERENCE`.
//!
//! The value is nowhere but in secret memory: `SecretValue` keeps it there, and the allocator wipes all that it passed through.

#![allow(clippy::print_stdout, reason = "an example speaks to its terminal")]

use keywheel_core::provider::Ending;
use keywheel_core::{Client, SecretValue, Watched};
use tokio::signal::unix::{SignalKind, signal};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference = std::env::args().nth(1).ok_or("usage: watch_one PROVIDER://PATH#FIELD")?;
    let client = keywheel_providers::client_from_env()?;
    let mut asked_to_stop = signal(SignalKind::terminate())?;
    let mut value: Watched<SecretValue> = client.watch(&reference).await?;
    println!("version {} has {} bytes", value.current().version(), value.current().len());
    loop {
        tokio::select! {
            changed = value.changed() => {
                let new = changed?;
                println!("version {} has {} bytes", new.version(), new.len());
                value.confirm();
            }
            _ = asked_to_stop.recv() => break,
        }
    }
    client.close(Ending::Revoke, Client::CLOSE).await;
    Ok(())
}
