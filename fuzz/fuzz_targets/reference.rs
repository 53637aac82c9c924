//! References, as they are written in configurations and on command lines.

#![no_main]

use keywheel_core::SecretRef;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<SecretRef>() else { return };
    assert!(text.len() <= SecretRef::MAX_LENGTH);
    let written = reference.to_string();
    // What is written with escapes may be longer than what may be read.
    if written.len() <= SecretRef::MAX_LENGTH {
        assert_eq!(written.parse::<SecretRef>().as_ref(), Ok(&reference), "{written}");
    }
    assert!(reference.whole().field().is_none());
});
