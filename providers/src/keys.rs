//! New key pairs, for what is rotated by key rather than by password; by the cryptography that is under TLS already.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywheel_core::config::{Item, Setting};
use keywheel_core::{Error, ErrorKind, Result, SecretValue};
use zeroize::Zeroizing;

/// What a key pair is for the mathematics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// An elliptic curve, NIST's P-256.
    EcdsaP256,
    /// An elliptic curve, NIST's P-384.
    EcdsaP384,
}

/// A private key and its public one.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyPair {
    /// The private key: PKCS#8 (RFC 5208, version 1) as PEM, `-----BEGIN PRIVATE KEY-----`.
    pub private_key: SecretValue,
    /// The public key: SubjectPublicKeyInfo (RFC 5280) as PEM, `-----BEGIN PUBLIC KEY-----`.
    pub public_key: String,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384];

    /// Returns the name that configurations use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
        }
    }

    /// Makes a key pair. For RSA this computes for up to some seconds: call it where that blocks nobody.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the library makes no key, for want of memory or of random numbers.
    pub fn generate(self) -> Result<KeyPair> {
        self.make().map_err(|Unspecified| {
            Error::new(ErrorKind::Unavailable, "generate", "the cryptographic library makes no key")
                .with("key", self)
        })
    }

    fn make(self) -> Result<KeyPair, Unspecified> {
        match self {
            Self::Ed25519 => {
                let pair = Ed25519KeyPair::generate()?;
                key_pair(pair.to_pkcs8v1()?.as_ref(), pair.public_key().as_der()?.as_ref())
            }
            Self::Rsa2048 => rsa(KeySize::Rsa2048),
            Self::Rsa3072 => rsa(KeySize::Rsa3072),
            Self::Rsa4096 => rsa(KeySize::Rsa4096),
            Self::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Setting for KeyKind {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = String::parse(value)?;
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

fn rsa(size: KeySize) -> Result<KeyPair, Unspecified> {
    let pair = aws_lc_rs::rsa::KeyPair::generate(size)?;
    let private: Pkcs8V1Der<'_> = pair.as_der()?;
    key_pair(private.as_ref(), pair.public_key().as_der()?.as_ref())
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<KeyPair, Unspecified> {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    key_pair(pair.to_pkcs8v1()?.as_ref(), pair.public_key().as_der()?.as_ref())
}

fn key_pair(private: &[u8], public: &[u8]) -> Result<KeyPair, Unspecified> {
    let private_key = SecretValue::copy_of(pem("PRIVATE KEY", private)?.as_bytes());
    Ok(KeyPair { private_key, public_key: pem("PUBLIC KEY", public)?.to_string() })
}

/// Writes PEM (RFC 7468): lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> Result<Zeroizing<String>, Unspecified> {
    let (begin, end) = (format!("-----BEGIN {label}-----\n"), format!("-----END {label}-----\n"));
    // Of this size it never grows, which would leave a copy.
    let size = begin.len() + end.len() + der.len().div_ceil(BYTES_PER_LINE) * (CHARACTERS_PER_LINE + 1);
    let mut text = Zeroizing::new(String::with_capacity(size));
    let mut line = Zeroizing::new([0; CHARACTERS_PER_LINE]);
    text.push_str(&begin);
    for bytes in der.chunks(BYTES_PER_LINE) {
        let length = STANDARD.encode_slice(bytes, line.as_mut_slice()).map_err(|_| Unspecified)?;
        text.push_str(std::str::from_utf8(&line[..length]).map_err(|_| Unspecified)?);
        text.push('\n');
    }
    text.push_str(&end);
    Ok(text)
}

const BYTES_PER_LINE: usize = 48;
const CHARACTERS_PER_LINE: usize = 64;
