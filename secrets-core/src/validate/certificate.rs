//! Certificates in PEM form: whether the leaf's is valid now, and belongs to a key.

use jiff::Timestamp;

/// Checks the first certificate of `certificates` and, where there is one, that `key` is its private key.
#[cfg(feature = "certificates")]
pub(super) fn check(certificates: &[u8], key: Option<&[u8]>, now: Timestamp) -> Result<(), String> {
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::sign::CertifiedKey;

    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|_| "a certificate in it is not whole")?;
    let leaf = chain.first().ok_or("there is no certificate in PEM form in it")?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| "its first certificate cannot be read")?;
    let validity = parsed.validity();
    let from_epoch = now.as_second();
    if validity.not_after.timestamp() <= from_epoch {
        return Err("its certificate has expired".into());
    }
    // Somebody else's clock may be a little ahead.
    if validity.not_before.timestamp() > from_epoch + SKEW_SECONDS {
        return Err("its certificate is not valid yet".into());
    }
    let Some(key) = key else { return Ok(()) };
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "there is no private key in PEM form in the key's file")?;
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|_| "the private key is of a kind that is not known")?;
    CertifiedKey::new(chain, key)
        .keys_match()
        .map_err(|_| "its certificate does not belong to the private key".into())
}

#[cfg(feature = "certificates")]
const SKEW_SECONDS: i64 = 60;

/// Refuses: this build was made without the feature `certificates`.
#[cfg(not(feature = "certificates"))]
pub(super) fn check(_: &[u8], _: Option<&[u8]>, _: Timestamp) -> Result<(), String> {
    Err("this program was built without the feature `certificates`".into())
}
