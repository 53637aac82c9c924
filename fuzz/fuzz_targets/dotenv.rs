//! Source files with variables.

#![no_main]

use keywheel_providers::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::parse_file(".env", bytes).ok();
});
