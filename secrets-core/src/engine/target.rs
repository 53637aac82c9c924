//! The directory of one delivery, with its file work away from the loop that waits.

use std::path::PathBuf;

use tokio::time::Instant;
use tracing::warn;

use crate::clock::Clock;
use crate::config::DeliveryConfig;
use crate::deliver::{AtomicDir, Change, Manifest, Settings, Sources, Staged};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;
use crate::transaction::Versions;

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
        Self { settings: config.settings(), clock, directory: None }
    }

    /// Checks that the directory is, or would be made, on a volume that it may be on.
    pub(super) fn check_volume(&self) -> Result<()> {
        AtomicDir::check_volume(&self.settings)
    }

    /// Tells what writing `payload` would change; writes nothing.
    pub(super) fn plan(&self, payload: &Payload) -> Result<Vec<Change>> {
        AtomicDir::plan(&self.settings, payload)
    }

    /// Opens the directory, and cleans up what a crash left there. The generation `held` stays.
    pub(super) async fn open(&mut self, held: Option<String>) -> Result<Found> {
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let opened = blocking(move || -> Result<_> {
            let directory = AtomicDir::open_holding(settings, clock, held.as_deref())?;
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

    /// Returns the versions of the secrets in the files that are visible.
    pub(super) async fn versions(&mut self) -> Result<Versions> {
        let manifest = self.with_directory(|directory| directory.read_manifest()).await?;
        let secrets = manifest
            .into_iter()
            .flat_map(|manifest| manifest.files.into_values())
            .flat_map(|file| file.secrets);
        Ok(secrets.map(|secret| (secret.name, secret.version)).collect())
    }

    /// Writes `payload` where nobody sees it; `None` where it is what is visible already.
    pub(super) async fn stage(
        &mut self,
        payload: Payload,
        sources: Sources,
    ) -> Result<Option<(Staged, PathBuf)>> {
        self.with_directory(move |directory| {
            let staged = directory.stage(&payload, &sources)?;
            Ok(staged.map(|staged| {
                let path = directory.path_of(&staged);
                (staged, path)
            }))
        })
        .await
    }

    /// Makes what was staged visible; where `holds`, what it replaces stays until [`commit`](Self::commit).
    ///
    /// # Errors
    /// As for [`AtomicDir::publish`], with whether it is visible all the same.
    pub(super) async fn publish(&mut self, staged: Staged, holds: bool) -> Result<(), (Error, bool)> {
        let published = self.with_directory(move |directory| {
            let generation = staged.generation().to_owned();
            let published = match holds {
                true => directory.hold().and_then(|()| directory.publish(staged)),
                false => directory.publish(staged),
            };
            let is_visible =
                || directory.current_generation().is_ok_and(|current| current.as_ref() == Some(&generation));
            Ok(published.map(drop).map_err(|error| (error, is_visible())))
        });
        published.await.unwrap_or_else(|error| Err((error, false)))
    }

    /// Removes what was staged.
    pub(super) async fn discard(&mut self, staged: Staged) -> Result<()> {
        self.with_directory(move |directory| {
            directory.discard(&staged);
            Ok(())
        })
        .await
    }

    /// Lets go what is held.
    pub(super) async fn commit(&mut self) -> Result<()> {
        self.with_directory(AtomicDir::commit).await
    }

    /// Makes what is held visible again; returns its name.
    pub(super) async fn revert(&mut self) -> Result<String> {
        self.with_directory(AtomicDir::revert).await
    }

    /// Removes everything that was replaced.
    pub(super) async fn forget_replaced(&mut self) -> Result<()> {
        self.with_directory(AtomicDir::forget_replaced).await
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
