//! The certificate that the server shows: issued here or read, and replaced while it serves.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate with its key, ready to be shown.
#[derive(Clone)]
pub struct Certificate {
    certified: Arc<CertifiedKey>,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// A certificate that was issued here, and the authority that issued it. Nobody has the authority's key: it signed one certificate, and is gone.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What is shown.
    pub certificate: Certificate,
    /// What the API server is to trust, PEM.
    pub authority: String,
}

/// Why a certificate cannot be shown.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It could not be made.
    #[error("no certificate could be made for these names")]
    Issue,
    /// There is no certificate in the file.
    #[error("there is no certificate in PEM")]
    Certificate,
    /// There is no key in the file.
    #[error("there is no private key in PEM")]
    Key,
    /// They do not belong together.
    #[error("the private key is not the certificate's")]
    Pair,
}

/// Issues a certificate for `names`, by an authority of its own, valid from a little before `now` for `life`.
///
/// # Errors
/// Names that no certificate can have.
pub fn issue(
    replica: &str,
    names: &[String],
    now: Timestamp,
    life: Duration,
) -> Result<Issued, CertificateError> {
    let failed = |_| CertificateError::Issue;
    let ends_at = now.checked_add(life).map_err(|_| CertificateError::Issue)?;
    let bounded = |mut params: CertificateParams| {
        // The clocks of a cluster are not one.
        let begins_at = now.checked_sub(SKEW).unwrap_or(now);
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(begins_at.as_second().unsigned_abs());
        params.not_after = epoch + Duration::from_secs(ends_at.as_second().unsigned_abs());
        params
    };
    let mut authority = bounded(CertificateParams::default());
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, common_name(replica));
    let authority_key = KeyPair::generate().map_err(failed)?;
    let pem = authority.self_signed(&authority_key).map_err(failed)?.pem();

    let mut server = bounded(CertificateParams::new(names).map_err(failed)?);
    server.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let issued = server.signed_by(&key, &Issuer::new(authority, authority_key)).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| CertificateError::Issue)?;
    let certificate = Certificate::new(vec![issued.der().clone()], &key)?;
    Ok(Issued { certificate, authority: pem })
}

/// Returns the name that an authority of this replica's has.
pub(super) fn common_name(replica: &str) -> String {
    format!("{OWN}{replica}")
}

impl Certificate {
    /// Reads a certificate, with those that follow it, and its key, both PEM.
    ///
    /// # Errors
    /// What is missing, or does not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::Key)?;
        Self::new(chain.map_err(|_| CertificateError::Certificate)?, &key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, CertificateError> {
        let first = chain.first().ok_or(CertificateError::Certificate)?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| CertificateError::Certificate)?;
        let ends_at = Timestamp::from_second(parsed.validity().not_after.timestamp());
        let ends_at = ends_at.map_err(|_| CertificateError::Certificate)?;
        let key = any_supported_type(key).map_err(|_| CertificateError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| CertificateError::Pair)?;
        Ok(Self { certified: Arc::new(certified), ends_at })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("ends_at", &self.ends_at).finish_non_exhaustive()
    }
}

/// The certificate that is shown now; empty until there is one, and ready until the server is to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<RwLock<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    certificate: Option<Certificate>,
    is_retired: bool,
}

impl Served {
    /// Shows another certificate from now on; connections that are open stay.
    pub fn replace(&self, certificate: Certificate) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).certificate = Some(certificate);
    }

    /// Says that nobody should be sent here any more.
    pub(super) fn retire(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).is_retired = true;
    }

    /// Tells whether reviews can be sent here: there is a certificate that is still valid, and more of them are wanted.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        let standing = self.0.read().unwrap_or_else(PoisonError::into_inner);
        standing.certificate.as_ref().is_some_and(|certificate| certificate.ends_at > now)
            && !standing.is_retired
    }

    /// Returns when the certificate ends.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        let standing = self.0.read().unwrap_or_else(PoisonError::into_inner);
        standing.certificate.as_ref().map(|certificate| certificate.ends_at)
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let standing = self.0.read().unwrap_or_else(PoisonError::into_inner);
        standing.certificate.as_ref().map(|certificate| Arc::clone(&certificate.certified))
    }
}

/// What the name of every authority of ours begins with.
pub(super) const OWN: &str = "keywheel-webhook ";
const SKEW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_a_certificate_that_has_ended() {
        let (served, now, life) = (Served::default(), Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        assert!(!served.is_ready(now));
        let issued = issue("a", &["k.svc".to_owned()], now, life).unwrap();
        served.replace(issued.certificate);
        assert!(served.is_ready(now) && served.is_ready(now + Duration::from_secs(3599)));
        assert!(!served.is_ready(now + life));
        served.retire();
        assert!(!served.is_ready(now));
    }
}
