//! What [`crate::fuzzing`] reaches here.

use std::path::Path;

use keywheel_core::Result;

use super::format::Format;
use super::{decrypt, format};

pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<()> {
    format::parse(bytes.to_vec().into(), Format::of(name).1).map(drop)
}

pub(crate) fn decrypt(encrypted: &[u8], identity_file: &Path) -> Result<()> {
    decrypt::decrypt(encrypted, Some(identity_file)).map(drop)
}

pub(crate) fn read_identities(bytes: &[u8]) -> Result<usize, &'static str> {
    let identities = decrypt::parse_identities(bytes)?.into_identities();
    identities.map(|identities| identities.len()).map_err(|_| "an identity that cannot be used")
}
