//! A server's certificate that follows its secret.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use keywheel_core::client::IntoReference;
use keywheel_core::{Client, Error, ErrorKind, ExposeSecret as _, Result, SecretString, Versioned, Watched};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use tracing::{info, warn};

/// The newest good certificate of a secret, for every handshake of a server.
///
/// The secret is one of Vault's or OpenBao's PKI (`certificate`, `private_key`, `ca_chain`), or has the fields of a Kubernetes Secret of type
/// `kubernetes.io/tls` (`tls.crt`, `tls.key`), all in PEM. The next handshake after a change has the new certificate; one that cannot be read, or that does not
/// belong to its key, is not used: the last good one stays.
///
/// ```no_run
/// # async fn example(client: keywheel_core::Client) -> keywheel_core::Result<()> {
/// use std::sync::Arc;
///
/// use keywheel_providers::adapters::rustls::WatchedCertificate;
/// use rustls::ServerConfig;
///
/// let certificate = WatchedCertificate::watch(&client, "vault://pki/issue/web?common_name=shop.test").await?;
/// let config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(certificate));
/// # Ok(())
/// # }
/// ```
pub struct WatchedCertificate {
    newest: Mutex<Newest>,
}

struct Newest {
    watched: Watched<Issued>,
    /// The revision that was looked at last, whether or not it was good.
    looked_at: u64,
    good: Arc<CertifiedKey>,
}

#[derive(Deserialize)]
struct Issued {
    #[serde(alias = "tls.crt")]
    certificate: String,
    #[serde(alias = "tls.key")]
    private_key: SecretString,
    #[serde(default)]
    ca_chain: Vec<String>,
}

impl WatchedCertificate {
    /// Has the certificate kept fresh from now on.
    ///
    /// # Errors
    /// As for [`Client::watch`]; and [`ErrorKind::Invalid`] for a first one that cannot be used.
    pub async fn watch(client: &Client, reference: impl IntoReference) -> Result<Self> {
        let watched: Watched<Issued> = client.watch(reference).await?;
        let first = watched.current();
        let good = certified(&first).map_err(|reason| {
            Error::new(ErrorKind::Invalid, "watch certificate", reason).with("reference", watched.reference())
        })?;
        let newest = Newest { looked_at: first.revision(), good: Arc::new(good), watched };
        Ok(Self { newest: Mutex::new(newest) })
    }

    /// Returns the newest good certificate with its key. Asks nobody.
    pub fn current(&self) -> Arc<CertifiedKey> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let current = newest.watched.current();
        if current.revision() != newest.looked_at {
            newest.look(&current);
        }
        Arc::clone(&newest.good)
    }
}

impl Newest {
    /// Takes a new certificate over, if it can be used.
    fn look(&mut self, issued: &Versioned<Issued>) {
        self.looked_at = issued.revision();
        let (reference, version) = (self.watched.reference(), issued.version());
        match certified(issued) {
            Ok(good) => {
                info!(%reference, %version, "handshakes have a new certificate");
                self.good = Arc::new(good);
                self.watched.confirm();
            }
            Err(reason) => {
                warn!(%reference, %version, reason, "a new certificate cannot be used; the last good one stays");
            }
        }
    }
}

impl ResolvesServerCert for WatchedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for WatchedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("WatchedCertificate").field(&newest.watched).finish()
    }
}

fn certified(issued: &Issued) -> std::result::Result<CertifiedKey, &'static str> {
    let mut chain = Vec::new();
    for pem in std::iter::once(&issued.certificate).chain(&issued.ca_chain) {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            chain.push(certificate.map_err(|_| "a certificate is not whole")?);
        }
    }
    if chain.is_empty() {
        return Err("there is no certificate in PEM form in it");
    }
    let key = PrivateKeyDer::from_pem_slice(issued.private_key.expose_secret().as_bytes())
        .map_err(|_| "there is no private key in PEM form in it")?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|_| "the certificate and the private key do not belong together, or cannot be read")
}

#[cfg(test)]
mod tests;
