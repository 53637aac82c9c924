//! Encrypted files, and the identities that decrypt them.

#![no_main]

use std::path::Path;

use keywheel_providers::fuzzing;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    match input.split_first() {
        Some((b'f', encrypted)) => drop(fuzzing::decrypt(encrypted, Path::new(IDENTITY))),
        Some((b'i', identities)) => drop(fuzzing::read_identities(identities)),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

/// The seeds are encrypted to it, and nothing else is.
const IDENTITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/age-identity.txt");
