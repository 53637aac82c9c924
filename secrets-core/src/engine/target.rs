//! The directory of one delivery, with its file work away from the loop that waits.

use tokio::time::Instant;
use tracing::warn;

use crate::clock::Clock;
use crate::config::DeliveryConfig;
use crate::deliver::{AtomicDir, Change, Manifest, Settings, Sources, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;

/// Where one delivery is written.
#[derive(Debug)]
pub(super) struct Target {
    settings: Settings,
    clock: Clock,
    directory: Option<AtomicDir>,
}

/// What was in the directory when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    /// The generation that readers see.
    pub(super) generation: Option<String>,
    /// Its manifest, where it has a good one.
    pub(super) manifest: Option<Manifest>,
}

impl Target {
    pub(super) fn new(config: &DeliveryConfig, clock: Clock) -> Self {
        let DeliveryConfig { name, directory, allow_disk, owner, .. } = config;
        let settings = Settings {
            name: name.clone(),
            directory: directory.clone(),
            owner: *owner,
            allow_disk: *allow_disk,
            overlap: config.overlap(),
        };
        Self { settings, clock, directory: None }
    }

    /// Checks that the directory is, or would be made, on a volume that it may be on.
    pub(super) fn check_volume(&self) -> Result<()> {
        AtomicDir::check_volume(&self.settings)
    }

    /// Tells what writing `payload` would change; writes nothing.
    pub(super) fn plan(&self, payload: &Payload) -> Result<Vec<Change>> {
        AtomicDir::plan(&self.settings, payload)
    }

    /// Opens the directory, and cleans up what a crash left there.
    pub(super) async fn open(&mut self) -> Result<Found> {
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let opened = blocking(move || -> Result<_> {
            let directory = AtomicDir::open(settings, clock)?;
            let manifest = directory.read_manifest().unwrap_or_else(|error| {
                warn!(%error, "the manifest is not what was written; everything is delivered anew");
                None
            });
            let generation = directory.current_generation()?;
            Ok((directory, Found { generation, manifest }))
        });
        let (directory, found) = opened.await??;
        self.directory = Some(directory);
        Ok(found)
    }

    /// Makes `payload` visible; returns the generation that readers see then, which is the one before where nothing changed.
    pub(super) async fn write(&mut self, payload: Payload, sources: Sources) -> Result<String> {
        self.with_directory(move |directory| match directory.write(&payload, &sources)? {
            Written::Published { generation, .. } => Ok(generation),
            Written::Unchanged => Ok(directory.current_generation()?.unwrap_or_default()),
        })
        .await
    }

    /// Returns when the next replaced generation is due to go.
    pub(super) fn prune_at(&self) -> Option<Instant> {
        self.directory.as_ref().and_then(AtomicDir::next_prune_at)
    }

    /// Removes the replaced generations that are due.
    pub(super) async fn prune(&mut self) {
        if let Err(error) = self.with_directory(AtomicDir::prune).await {
            warn!(delivery = self.settings.name, %error, "a replaced generation could not be removed");
        }
    }

    async fn with_directory<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut AtomicDir) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(mut directory) = self.directory.take() else {
            return Err(Error::new(ErrorKind::Deliver, "write", "the directory is not open"));
        };
        let (directory, done) = blocking(move || {
            let done = work(&mut directory);
            (directory, done)
        })
        .await?;
        self.directory = Some(directory);
        done
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Error::new(ErrorKind::Deliver, "write", "the file work ended by itself; this is a defect")
    })
}
