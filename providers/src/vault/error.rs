//! The one place that turns what came back, or did not, into an error: kinds, words and advice of our own.

use std::error::Error as StdError;
use std::io;

use keywheel_core::{Error, ErrorKind};
use rustls::CertificateError;

use super::transport::{Answer, Peer};

/// Returns the error that a refusal means, by its status.
pub(super) fn refused(answer: &Answer) -> Error {
    let (kind, reason) = match answer.status {
        400 if answer.says("upgrading") => (ErrorKind::Unavailable, "the mount is being upgraded"),
        400 if answer.says("HTTP request to an HTTPS server") => {
            (ErrorKind::Config, "the address is http://, and the server speaks TLS there: it is https://")
        }
        400 => (ErrorKind::Invalid, "the server does not accept the request"),
        401 => (ErrorKind::Unauthenticated, "the server does not know the token"),
        403 => (ErrorKind::PermissionDenied, "the server does not allow it"),
        404 if answer.says("namespace not found") => (ErrorKind::NotFound, "there is no such namespace"),
        404 => (ErrorKind::NotFound, "there is nothing at this path"),
        405 => (ErrorKind::Unsupported, "the server has no such operation at this path"),
        408 => (ErrorKind::Timeout, "the server waited too long for the request"),
        412 => (ErrorKind::Unavailable, "the server's replica is not up to date yet"),
        413 => (ErrorKind::Invalid, "the request is too large for the server"),
        429 => (ErrorKind::RateLimited, "the server's quota is used up"),
        472 | 473 => (ErrorKind::Unavailable, "the server is a standby that does not serve reads"),
        501 => (ErrorKind::Unavailable, "the server is not initialized"),
        503 if answer.says("sealed") => (ErrorKind::Unavailable, "the server is sealed"),
        503 => (ErrorKind::Unavailable, "the server is not ready: sealed, starting or overloaded"),
        500.. => (ErrorKind::Unavailable, "the server failed"),
        _ => (ErrorKind::Invalid, "the server answered with a status that it should not have"),
    };
    Error::new(kind, answer.operation, reason)
        .with("status", answer.status)
        .with("path", &answer.path)
        .with_retry_after(answer.retry_after)
}

/// Returns the error of a login that the server refused: which mount and role, and why as far as that is known.
pub(super) fn login_refused(answer: &Answer, mount: &str, role: Option<&str>) -> Error {
    let known = REFUSED_LOGINS.iter().find(|(theirs, _)| answer.says(theirs)).map(|(_, ours)| *ours);
    let unknown = |reason: &str| {
        Error::new(ErrorKind::Unauthenticated, answer.operation, reason).with("status", answer.status)
    };
    let error = match (answer.status, known) {
        (400 | 401 | 403, Some(reason)) => unknown(reason),
        (400 | 401, None) => unknown("the server does not take the credentials"),
        // A path without a login is answered like one that refuses.
        (403, None) => unknown("the server does not take the credentials, or has no such login there")
            .with_help("check `auth`: method, mount and role, and the namespace"),
        (404 | 405, _) => {
            unknown("the server has no such login").with_help("check `auth.mount` and the namespace")
        }
        _ => refused(answer),
    };
    let error = error.with("mount", format_args!("auth/{mount}"));
    match role {
        Some(role) => error.with("role", role),
        None => error,
    }
}

/// What servers say about refused logins, and what we say: theirs may quote what they were sent.
const REFUSED_LOGINS: [(&str, &str); 12] = [
    ("invalid role or secret id", "the role id or the secret id is not known, or the secret id has ended"),
    ("invalid role id", "the role id is not known"),
    ("invalid secret id", "the secret id is not known, or has ended"),
    ("invalid role name", "the role is not known at this mount"),
    ("could not be found", "the role is not known at this mount"),
    ("audience", "the token is made for another audience than the role wants"),
    ("expired", "the token that was presented has expired"),
    ("not yet valid", "the token that was presented is not valid yet"),
    ("three parts", "what was presented is not a JWT"),
    ("signature", "the token that was presented is signed by a key that the server does not know"),
    ("subject", "the token that was presented is of another account than the role wants"),
    ("claim", "the token that was presented does not have the claims that the role wants"),
];

/// Returns the error of an answer that points elsewhere. The token has not been sent there.
pub(super) fn redirected(operation: &'static str, status: u16, target: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        operation,
        format!("the server points to {target}, which is not followed"),
    )
    .with_temporary(false)
    .with("status", status)
    .with_help("set the address to the one that serves, if it is to be trusted with the token")
}

/// Returns the error of a request that got no answer.
pub(super) fn unreachable(operation: &'static str, error: &reqwest::Error, peer: &Peer) -> Error {
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
            match &peer.ca_file {
                Some(file) => error.with("ca_file", file.display()),
                None => error.with_help(
                    "name the authority's file as `ca_file` (VAULT_CACERT) if it is not one of the system's",
                ),
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
