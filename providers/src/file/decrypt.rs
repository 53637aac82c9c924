//! Files that are encrypted with age (<https://age-encryption.org/v1>), binary or armored, to X25519 recipients.

use std::io::{BufReader, Read};
use std::path::Path;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor, IdentityFile, NoCallbacks};
use keywheel_core::error::{Error, ErrorKind, Result};
use keywheel_core::secret::Secret;
use zeroize::Zeroizing;

use super::place::Place;
use super::read::{regular_file, unfinished};

/// The largest encrypted file: armor makes a third more of it, and there is a header.
pub(super) const MAX_BYTES: usize = 2 * Secret::MAX_BYTES;

/// Decrypts a file with the identities of `identity_file`, which is read each time: it may be replaced, and its key stays in memory no longer
/// than it is needed.
pub(super) fn decrypt(encrypted: &[u8], identity_file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>> {
    let identities = read_identities(identity_file)?
        .into_identities()
        .map_err(|_| Error::config("decrypt", "the identity file has an identity that cannot be used"))?;
    let reader = Decryptor::new_buffered(ArmoredReader::new(encrypted)).map_err(failed)?;
    if reader.is_scrypt() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "decrypt",
            "the file is encrypted with a passphrase; encrypt it to a recipient",
        ));
    }
    let identities = identities.iter().map(|identity| &**identity as &dyn age::Identity);
    let plain = reader.decrypt(identities).map_err(failed)?;
    // One byte more than there may be, so that the buffer never grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(Secret::MAX_BYTES + 1));
    plain
        .take(Secret::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| unfinished("the encrypted file is cut off or damaged"))?;
    if bytes.len() > Secret::MAX_BYTES {
        let reason = format!("the decrypted file has more than {} bytes", Secret::MAX_BYTES);
        return Err(Error::new(ErrorKind::Invalid, "decrypt", reason));
    }
    Ok(bytes)
}

/// Reads the identities of a provider.
pub(super) fn read_identities(path: Option<&Path>) -> Result<IdentityFile<NoCallbacks>> {
    let path = path.ok_or_else(|| Error::config("decrypt", "the provider has no `identity_file`"))?;
    let place = Place::try_new(Some(Path::new(".")), path)?;
    let at = |error: Error| error.with("identity file", place.full_path().display());
    let bytes = place.open().and_then(|file| regular_file(&place, file, Secret::MAX_BYTES)).map_err(at)?;
    parse_identities(&bytes).map_err(|reason| at(Error::config("decrypt", reason)))
}

/// Reads the content of an identity file.
pub(super) fn parse_identities(bytes: &[u8]) -> Result<IdentityFile<NoCallbacks>, &'static str> {
    let file = IdentityFile::from_buffer(BufReader::new(bytes))
        .map_err(|_| "the identity file has a line that is no X25519 identity (AGE-SECRET-KEY-1…)")?;
    match file.to_recipients() {
        Ok(recipients) if recipients.is_empty() => Err("the identity file has no identity"),
        _ => Ok(file),
    }
}

fn failed(error: DecryptError) -> Error {
    match error {
        DecryptError::NoMatchingKeys => {
            Error::new(ErrorKind::PermissionDenied, "decrypt", "none of the identities fits the file")
        }
        _ => unfinished("the encrypted file is cut off or damaged"),
    }
}
