//! Source files: the first byte says which kind, as a file's name would.

#![no_main]

use keywheel_providers::fuzzing;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((kind, bytes)) = input.split_first() else { return Corpus::Reject };
    let name = match kind {
        b'j' => "file.json",
        b'y' => "file.yaml",
        b't' => "file.toml",
        b'p' => "file",
        _ => return Corpus::Reject,
    };
    if let Err(error) = fuzzing::parse_file(name, bytes) {
        // An error says where, and quotes nothing.
        let told = error.to_string();
        assert!(!told.contains("c4n4ry"), "{told}");
    }
    Corpus::Keep
});
