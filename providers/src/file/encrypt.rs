//! Encrypts what replaces a file that is encrypted with age: to the identities that it is decrypted with, and to the `recipients`.

use std::io::{BufRead, BufReader, Write};

use age::Encryptor;
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use keywheel_core::error::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::{Settings, decrypt};

/// Encrypts `plain`, armored if `old` is.
///
/// # Errors
/// [`ErrorKind::Config`] when somebody who can decrypt `old` could not decrypt what replaces it.
pub(super) fn encrypt(plain: &[u8], old: Option<&[u8]>, settings: &Settings) -> Result<Zeroizing<Vec<u8>>> {
    let own = decrypt::read_identities(settings.identity_file.as_deref())?.to_recipients().map_err(|_| {
        Error::config("encrypt", "the identity file has an identity that cannot be encrypted to")
    })?;
    let others = settings.recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let all: Vec<&dyn age::Recipient> =
        own.iter().map(|own| &**own as &dyn age::Recipient).chain(others).collect();
    let before = old.map_or(0, count_recipients);
    if before > all.len() {
        let reason = format!(
            "the file is encrypted to {before} recipients, and would be to {}: the others could not read it any more",
            all.len()
        );
        return Err(Error::config("encrypt", reason).with_help("name them in `recipients` of the provider"));
    }
    let is_armored = old.is_some_and(|old| old.trim_ascii_start().starts_with(b"-----BEGIN"));
    let format = if is_armored { Format::AsciiArmor } else { Format::Binary };
    let failed = || Error::new(ErrorKind::Invalid, "encrypt", "the file cannot be encrypted");
    let encryptor = Encryptor::with_recipients(all.into_iter()).map_err(|_| failed())?;
    let encrypted = || -> std::io::Result<Vec<u8>> {
        let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), format)?)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()
    };
    encrypted().map(Zeroizing::new).map_err(|_| failed())
}

/// Counts whom a file is encrypted to by its header, whose lines `-> TYPE …` name one each, but for those that age adds so that readers get
/// used to types that they do not know (<https://age-encryption.org/v1>).
fn count_recipients(encrypted: &[u8]) -> usize {
    let header = BufReader::new(ArmoredReader::new(encrypted)).split(b'\n').map_while(|line| line.ok());
    let header = header.take_while(|line| !line.starts_with(b"---"));
    let kinds = header.filter_map(|line| line.strip_prefix(b"-> ").map(<[u8]>::to_vec));
    kinds
        .filter(|line| !line.split(|byte| *byte == b' ').next().unwrap_or_default().ends_with(b"-grease"))
        .count()
}
