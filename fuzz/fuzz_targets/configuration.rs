//! Configurations: every mistake is told with its place, and none by a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match keywheel_fuzz::parse(text) {
        Ok(config) => drop(format!("{config:?}")),
        Err(mistakes) => assert!(!mistakes.is_empty()),
    }
});
