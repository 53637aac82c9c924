//! What is answered: a secret as JSON, or why there is none. What holds a value is wiped when it was sent.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywheel_core::Value;
use keywheel_core::engine::{Given, Offered};
use keywheel_core::reference::FieldPath;
use keywheel_core::value::Exposed;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::admit::Refusal;

/// Fields by name, for `serde` to write: those that are text or structured, and the others in base64.
#[derive(Serialize)]
pub(super) struct Fields<'a> {
    fields: BTreeMap<&'a str, Exposed<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    binary: BTreeMap<&'a str, Base64<'a>>,
    #[serde(skip)]
    size: usize,
}

struct Base64<'a>(&'a [u8]);

#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    version: &'a str,
    #[serde(flatten)]
    fields: Fields<'a>,
}

/// Writes a secret, or one field of it.
///
/// # Errors
/// There is no such field.
pub(super) fn secret(
    offered: &Offered,
    given: &Given,
    field: Option<&FieldPath>,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let fields = Fields::of(offered, given, field)?;
    let size = fields.size;
    json(&Answer { name, version: given.version().as_str(), fields }, size)
}

impl<'a> Fields<'a> {
    /// Takes all fields that are offered, or one of them.
    ///
    /// # Errors
    /// There is no such field.
    pub(super) fn of(
        offered: &'a Offered,
        given: &'a Given,
        field: Option<&'a FieldPath>,
    ) -> Result<Self, Refusal> {
        let found = match field {
            Some(field) => offered.field(given, field).map(|value| vec![(field.as_str(), value)]),
            None => offered.fields(given),
        };
        let found = found.map_err(|error| Refusal::Unknown(error.reason().to_owned()))?;
        let mut all =
            Self { fields: BTreeMap::new(), binary: BTreeMap::new(), size: found.len() * PER_FIELD };
        for (name, value) in found {
            all.size += name.len() + value.size();
            match value {
                Value::Bytes(bytes) if bytes.expose_text().is_none() => {
                    all.binary.insert(name, Base64(bytes.expose_secret()));
                }
                value => {
                    all.fields.insert(name, value.expose());
                }
            }
        }
        Ok(all)
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0)))
    }
}

/// Writes JSON of about `size` bytes.
///
/// # Errors
/// A structure with bytes in it that are no text.
pub(super) fn json(value: &impl Serialize, size: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut text = Zeroizing::new(Vec::with_capacity(size + size / 2 + 256));
    let written = serde_json::to_writer(&mut *text, value);
    written.map(|()| text).map_err(|_| Refusal::Malformed("the secret holds bytes that JSON cannot hold"))
}

/// Answers with `body`, which nobody on the way keeps.
pub(super) fn respond(status: StatusCode, content_type: &'static str, body: Zeroizing<Vec<u8>>) -> Response {
    stream(status, content_type, Body::from(Bytes::from_owner(body)))
}

/// As [`respond`], for a body that goes on.
pub(super) fn stream(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Says in a line why there is nothing.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    let line = format!("{refusal}\n").into_bytes();
    let mut response = respond(refusal.status(), "text/plain; charset=utf-8", Zeroizing::new(line));
    if let Refusal::Method(allowed) = refusal {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

pub(super) const JSON: &str = "application/json";
/// What is around a field.
const PER_FIELD: usize = 8;
