//! The one place that turns a refusal into an error: kinds, words and advice of our own.

use keywheel_core::{Error, ErrorKind};

use super::transport::Answer;

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
