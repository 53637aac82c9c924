//! The filters that are ours. None of them puts any of its input into an error.

mod dotenv;
mod encode;
mod json;
mod pem;

use std::borrow::Cow;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use crate::render::context::{Notes, secret_keys};
use crate::render::engine;
use crate::render::failure::said;

pub(super) use self::json::{Pay, write as write_json};

/// Adds the filters to `environment`.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("b64encode", encode::b64encode);
    environment.add_filter("b64decode", encode::b64decode);
    environment.add_filter("urlencode", encode::urlencode);
    environment.add_filter("sha256", encode::sha256);
    environment.add_filter("shell", encode::shell);
    environment.add_filter("dotenv", dotenv::dotenv);
    environment.add_filter("json", json::json);
    environment.add_filter("tojson", json::json);
    environment.add_filter("pem_key", pem::pem_key);
    environment.add_filter("pem_cert", pem::pem_cert);
    environment.add_filter("pem_chain", pem::pem_chain);
    environment.add_filter("pem_certs", pem::pem_certs);
    environment.add_filter("secret_keys", secret_keys);
}

/// Returns the bytes that a scalar value is printed as.
fn bytes<'a>(state: &State<'_, '_>, value: &'a Value) -> Result<Cow<'a, [u8]>, Error> {
    if let Some(bytes) = value.as_bytes() {
        check_lossless(state, value)?;
        state.consume_fuel(bytes.len() as u64 / 64)?;
        return Ok(bytes.into());
    }
    match value.kind() {
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        ValueKind::None => Ok(Cow::Borrowed(b"")),
        ValueKind::Bool => Ok(Cow::Borrowed(if value.is_true() { b"true" } else { b"false" })),
        ValueKind::Number => Ok(value.to_string().into_bytes().into()),
        _ => Err(said(
            "the filter takes one value, and this is a list or a map: name one of its fields, or put `| json` first",
        )),
    }
}

/// Returns the text that a scalar value is printed as.
fn text<'a>(state: &State<'_, '_>, value: &'a Value) -> Result<Cow<'a, str>, Error> {
    match bytes(state, value)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| engine::not_text()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| engine::not_text()),
    }
}

/// See [`Notes::check_lossless`].
pub(super) fn check_lossless(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str().is_some_and(|text| text.contains('\u{fffd}')) {
        true => Notes::of(state).map_or(Ok(()), |notes| notes.check_lossless(value)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
