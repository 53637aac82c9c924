//! Reads any path of an engine that is not KV: a read, or a write where the reference has parameters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::clock::later;
use keywheel_core::config::parse_duration;
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::lease::{Lease, Term};
use keywheel_core::{Error, ErrorKind, Result, Secret, Upkeep, Value, Version};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::endpoint::Logical;
use super::error;
use super::session::{Session, Token};
use super::transport::Answer;

/// A request on a path, with the parameters that are written to it; without any, it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) parameters: &'a BTreeMap<&'a str, &'a str>,
}

/// Sends the request once, and returns what it yields; `None` where there is nothing at the path. `at` is the moment of asking.
///
/// # Errors
/// A refusal, or an answer of another shape.
pub(super) async fn read(
    session: &Session,
    request: Request<'_>,
    fingerprint: &Fingerprint,
    at: Timestamp,
) -> Result<Option<Secret>> {
    let Request { path, parameters } = request;
    let endpoint = match parameters.is_empty() {
        true => Logical::read(path),
        false => Logical::write(path, parameters),
    };
    let (answer, token) = session.ask_as("read", &endpoint).await?;
    match answer.status {
        200 => Made::of(&answer, request, at)?.secret(&token, fingerprint).map(Some),
        204 => Err(no_fields(path)),
        404 => Ok(None),
        _ => Err(refused(session, &answer, request)),
    }
}

fn refused(session: &Session, answer: &Answer, request: Request<'_>) -> Error {
    let Request { path, parameters } = request;
    let error = error::refused(answer);
    if answer.status == 400 && answer.says("unknown role") {
        return Error::new(ErrorKind::NotFound, "read", "the engine has no such role").with("path", path);
    }
    let capability = if parameters.is_empty() { "read" } else { "update" };
    match error.kind() {
        ErrorKind::PermissionDenied => error
            .with_help(format!("the policy must allow `{capability}` on {path}{}", session.doubt())),
        ErrorKind::Unsupported if parameters.is_empty() => error.with_help(
            "a path that has to be written to takes parameters, as in vault://pki/issue/web?common_name=web.example.com",
        ),
        ErrorKind::Invalid if !parameters.is_empty() => error.with_help("check the reference's parameters"),
        _ => error,
    }
}

fn no_fields(path: &str) -> Error {
    Error::new(ErrorKind::Invalid, "read", "the answer holds no fields").with("path", path)
}

/// Tells whether a text is a certificate's serial number, which logs and manifests may show: hexadecimal digits, of at most 20 bytes (RFC 5280,
/// section 4.1.2.2), and what is written between them.
fn is_serial(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-'))
}

/// Reads a span as the server does: seconds, or with a unit.
fn span(text: &str) -> Option<Duration> {
    text.parse().map(Duration::from_secs).ok().or_else(|| parse_duration(text).ok())
}

/// What a request yielded.
struct Made<'a> {
    request: Request<'a>,
    at: Timestamp,
    answer: LogicalAnswer,
    fields: BTreeMap<String, Value>,
}

impl<'a> Made<'a> {
    fn of(answer: &Answer, request: Request<'a>, at: Timestamp) -> Result<Self> {
        let mut parsed = answer.parse::<LogicalAnswer>()?;
        match parsed.data.take() {
            Some(fields) if !fields.is_empty() => Ok(Self { request, at, answer: parsed, fields }),
            _ if parsed.auth.is_some() => {
                let reason = "the path is a login; name it under `auth` of the provider";
                Err(Error::new(ErrorKind::Unsupported, "read", reason).with("path", request.path))
            }
            _ => Err(no_fields(request.path)),
        }
    }

    fn secret(self, token: &Arc<Token>, fingerprint: &Fingerprint) -> Result<Secret> {
        let upkeep = self.upkeep(token);
        let version = match (&upkeep, self.text("serial_number").filter(|serial| is_serial(serial))) {
            (Upkeep::Expiry { .. }, Some(serial)) => Version::new(serial),
            (Upkeep::Turn { .. }, _) => fingerprint.version_without(&self.fields, &VOLATILE),
            _ => fingerprint.version(&self.fields),
        };
        let mut secret = Secret::try_new(self.fields, version)?;
        secret.upkeep = upkeep;
        Ok(secret)
    }

    /// Returns how the value stays fresh, by what the answer says of it.
    fn upkeep(&self, token: &Arc<Token>) -> Upkeep {
        let LogicalAnswer { lease_id, lease_duration, renewable, .. } = &self.answer;
        if !lease_id.is_empty() {
            token.hold(lease_id);
            let term = Term::granted(self.at, Duration::from_secs(*lease_duration), *renewable);
            let holder = token.name().to_owned();
            return Upkeep::Lease(Box::new(Lease { id: lease_id.clone(), holder, term }));
        }
        let seconds = |name| self.number(name).map(Duration::from_secs);
        if let (Some(ttl), true) = (seconds("ttl"), self.fields.contains_key("last_vault_rotation")) {
            // A static role: the server replaces the password by itself, at a tick of its own that may come a little early.
            let period = seconds("rotation_period").unwrap_or(ttl);
            return Upkeep::Turn { at: later(self.at, ttl.saturating_sub(TURN_EARLY)), period };
        }
        let expires = |ends_at| Upkeep::Expiry { began_at: self.at, ends_at };
        let expiration =
            self.number("expiration").and_then(|at| Timestamp::from_second(at.try_into().ok()?).ok());
        if let Some(ends_at) = expiration.filter(|ends_at| *ends_at > self.at) {
            return expires(ends_at);
        }
        let parameter = self.request.parameters.get("ttl").and_then(|ttl| span(ttl));
        let token_ttl = seconds("ttl").filter(|_| self.fields.contains_key("token"));
        match parameter.or(token_ttl).filter(|ttl| !ttl.is_zero()) {
            Some(ttl) => expires(later(self.at, ttl)),
            None if self.request.parameters.is_empty() => Upkeep::Poll { ends_at: None },
            None => Upkeep::Once,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.fields.get(name)? {
            Value::Number(number) => number.expose_text()?.parse().ok(),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.fields.get(name)? {
            Value::Bytes(text) => text.expose_text(),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct LogicalAnswer {
    #[serde(default)]
    lease_id: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    data: Option<BTreeMap<String, Value>>,
    auth: Option<IgnoredAny>,
}

/// What a static role's answer holds beside the credential: it changes with every read, or before the password does.
const VOLATILE: [&str; 2] = ["ttl", "last_vault_rotation"];

/// How much earlier than its whole seconds say a static role may turn.
const TURN_EARLY: Duration = Duration::from_secs(1);

/// Which references make a new value when they are read, by their last reads: asking whether that changed must not make another one, and what
/// makes none may be read as often as it has to be.
#[derive(Debug, Default)]
pub(super) struct Minting(Mutex<BTreeMap<String, bool>>);

impl Minting {
    pub(super) fn note(&self, reference: &str, is_minted: bool) {
        self.known().insert(reference.to_owned(), is_minted);
    }

    /// Tells whether a read makes a new value; nothing where none was made yet.
    pub(super) fn of(&self, reference: &str) -> Option<bool> {
        self.known().get(reference).copied()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_serial_number_becomes_a_version() {
        assert!(
            is_serial("57:6b:3c:99:a1:bf:e9:c1:2c:76:4b:04:81:76:37:15:8f:f8:14:3d") && is_serial("c0ffee")
        );
        let long = "a".repeat(65);
        for other in ["hunter2", "57:6b\n", long.as_str()] {
            assert!(!is_serial(other), "{other:?}");
        }
    }
}
