//! A certificate and its key in files that somebody else replaces.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::WebhookError;
use super::certificate::{Certificate, Served};

/// The files of a certificate and its key, PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The certificate, and those that follow it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Files {
    /// Shows what the files have now, and what they have whenever that changes. A pair that is half written, or wrong, is told of, and the one before stays.
    ///
    /// # Errors
    /// Files that are wrong at the start.
    pub(super) async fn follow(&self, served: &Served) -> WebhookError {
        let mut shown = match self.read().await.and_then(|pair| show(&pair, served).map(|()| pair)) {
            Ok(pair) => pair,
            Err(reason) => return WebhookError { reason, is_denied: false },
        };
        let mut refused = None;
        loop {
            sleep(EVERY).await;
            match self.read().await {
                Ok(pair) if pair == shown || refused.as_ref() == Some(&pair) => {}
                Ok(pair) => match show(&pair, served) {
                    Ok(()) => {
                        info!(file = %self.certificate.display(), "shows another certificate");
                        (shown, refused) = (pair, None);
                    }
                    Err(reason) => {
                        error!(reason, "the certificate before stays");
                        refused = Some(pair);
                    }
                },
                Err(reason) => error!(reason, "the certificate before stays"),
            }
        }
    }

    /// Reads both files, on a thread that may wait for a volume.
    async fn read(&self) -> Result<Pair, String> {
        let files = self.clone();
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let reading = tokio::task::spawn_blocking(move || {
            Ok(Pair { certificate: read(&files.certificate)?, key: read(&files.key)?, files })
        });
        reading.await.unwrap_or_else(|_| Err("the certificate's files were not read to their end".into()))
    }
}

#[derive(Clone, Eq, PartialEq)]
struct Pair {
    files: Files,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn show(pair: &Pair, served: &Served) -> Result<(), String> {
    let Files { certificate, key } = &pair.files;
    let read = Certificate::from_pem(&pair.certificate, &pair.key)
        .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?;
    served.replace(read);
    Ok(())
}

/// Two small files are read as often; nobody waits for a certificate that is renewed weeks before it ends.
const EVERY: Duration = Duration::from_secs(5);
