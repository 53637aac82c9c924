//! Why a request got no answer, in words of our own: those of the libraries may quote what was sent.

use std::error::Error as StdError;
use std::io;

use keywheel_core::{Error, ErrorKind};
use rustls::CertificateError;

use crate::authorities::Authorities;

/// Whom a request went to, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Scheme, host and port.
    pub(crate) address: String,
    /// The authorities that are trusted, unless they are the system's.
    pub(crate) ca: Option<Authorities>,
    /// The environment variable that may name that file.
    pub(crate) ca_variable: &'static str,
}

/// Returns the error of a request that got no answer.
pub(crate) fn unreachable(operation: &'static str, error: &reqwest::Error, peer: &Peer) -> Error {
    if let Some(error) = find::<rustls::Error>(error) {
        return untrusted(operation, error, peer);
    }
    if error.is_timeout() {
        return Error::new(ErrorKind::Timeout, operation, "the connection was not made in time");
    }
    let reason = match find::<io::Error>(error).map(io::Error::kind) {
        _ if error.is_dns() => "the host's name was not found",
        Some(io::ErrorKind::ConnectionRefused) => "the connection was refused",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            "the connection broke"
        }
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            "there is no way to the host"
        }
        _ if error.is_connect() => "the server cannot be reached",
        _ if error.is_body() || error.is_decode() => "the answer broke off",
        _ => "the connection broke",
    };
    Error::new(ErrorKind::Unavailable, operation, reason)
}

/// Returns the error of a TLS handshake: nobody but an administrator can mend it.
fn untrusted(operation: &'static str, error: &rustls::Error, peer: &Peer) -> Error {
    let permanent =
        |reason: String| Error::new(ErrorKind::Unavailable, operation, reason).with_temporary(false);
    match error {
        rustls::Error::InvalidCertificate(certificate) => {
            let why = match certificate {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "its issuer is not trusted"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "it is for another name"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "it is not valid yet"
                }
                _ => "it does not verify",
            };
            let error = permanent(format!("the server's certificate was not accepted: {why}"));
            match &peer.ca {
                Some(authorities) => authorities.named(error),
                None => error.with_help(format!(
                    "name the authority's file as `ca_file` ({}) if it is not one of the system's",
                    peer.ca_variable
                )),
            }
        }
        rustls::Error::AlertReceived(alert) => {
            permanent(format!("the server ended the TLS handshake ({alert:?})"))
                .with_help("check the client certificate, if the server wants one")
        }
        rustls::Error::InvalidMessage(_) => permanent("the server does not speak TLS at this port".into())
            .with_help("is the address http://?"),
        _ => permanent("the TLS handshake failed".into()),
    }
}

/// Finds an error of type `T` in the chain of causes, also inside the I/O errors that hide theirs.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            // The outermost I/O error may only wrap the one that says more.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            return inner.and_then(|inner| find::<T>(inner)).or(Some(found));
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
