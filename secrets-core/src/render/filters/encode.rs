//! Other spellings of the same bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use minijinja::value::Value;
use minijinja::{Error, State};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::fingerprint::hex;
use crate::quote;
use crate::render::context::Notes;
use crate::render::failure::said;

use super::{bytes, text};

/// Encodes bytes as base64 with the standard alphabet and padding (RFC 4648, section 4).
pub(super) fn b64encode(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    Ok(STANDARD.encode(bytes(state, &value)?))
}

/// Decodes base64 of either alphabet (RFC 4648, sections 4 and 5), with padding or without; white space is skipped.
pub(super) fn b64decode(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let encoded = bytes(state, &value)?;
    let significant = encoded.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
    let mut packed = Zeroizing::new(Vec::with_capacity(encoded.len()));
    packed.extend(significant);
    let engine = if packed.iter().any(|byte| matches!(byte, b'-' | b'_')) {
        &EITHER_URL_SAFE
    } else {
        &EITHER_STANDARD
    };
    let decoded = engine.decode(&packed).map_err(|_| said("the value is not base64"))?;
    if std::str::from_utf8(&decoded).is_err()
        && let Some(notes) = Notes::of(state)
    {
        notes.saw_binary();
    }
    Ok(Value::from_bytes(decoded))
}

const EITHER: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const EITHER_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER);
const EITHER_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER);

/// Percent-encodes everything but the unreserved characters (RFC 3986, section 2.3), as a component of a URL needs it.
pub(super) fn urlencode(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    Ok(percent_encode(&bytes(state, &value)?, RESERVED).to_string())
}

/// Returns the SHA-256 of the bytes in lower-case hexadecimal digits.
pub(super) fn sha256(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    Ok(hex(&Sha256::digest(bytes(state, &value)?)))
}

/// Quotes a text for a POSIX shell; see [`quote::shell`]. A NUL is refused.
pub(super) fn shell(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    quote::shell(&text(state, &value)?).ok_or_else(|| said("the value has a NUL, which no shell can carry"))
}
