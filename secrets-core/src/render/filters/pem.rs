//! The parts of a PEM bundle (RFC 7468): a private key, the leaf's certificate, the chain above it.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use crate::render::failure::said;

use super::text;

/// Returns the first private key.
pub(super) fn pem_key(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    let key = blocks(state, &value, is_key)?.into_iter().next();
    key.ok_or_else(|| said("there is no private key in PEM form"))
}

/// Returns the first certificate, which is the leaf's.
pub(super) fn pem_cert(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    certificates(state, &value)?.into_iter().next().ok_or_else(no_certificate)
}

/// Returns the certificates after the first, in their order.
pub(super) fn pem_chain(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    match certificates(state, &value)?.as_slice() {
        [] => Err(no_certificate()),
        [_] => Err(said("there is one certificate in PEM form, and no chain after it")),
        [_, chain @ ..] => Ok(chain.concat()),
    }
}

/// Returns all certificates in their order.
pub(super) fn pem_certs(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    match certificates(state, &value)?.as_slice() {
        [] => Err(no_certificate()),
        all => Ok(all.concat()),
    }
}

fn no_certificate() -> Error {
    said("there is no certificate in PEM form")
}

fn certificates(state: &State<'_, '_>, value: &Value) -> Result<Vec<String>, Error> {
    blocks(state, value, |label| matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"))
}

/// Returns the blocks whose label is wanted, each with its own lines and nothing around them; a list of texts counts as one text.
fn blocks(
    state: &State<'_, '_>,
    value: &Value,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    if value.kind() == ValueKind::Seq {
        for item in value.try_iter()?.checked() {
            collect(&text(state, &item?)?, &is_wanted, &mut found)?;
        }
    } else {
        collect(&text(state, value)?, &is_wanted, &mut found)?;
    }
    Ok(found)
}

fn collect(bundle: &str, is_wanted: impl Fn(&str) -> bool, found: &mut Vec<String>) -> Result<(), Error> {
    let mut lines = bundle.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let mut block = String::with_capacity(bundle.len());
        block.extend([line, "\n"]);
        loop {
            let Some(line) = lines.next() else {
                return Err(said("a PEM block has no end"));
            };
            block.extend([line, "\n"]);
            if line == end {
                break;
            }
        }
        if is_wanted(label) {
            found.push(block);
        }
    }
    Ok(())
}
