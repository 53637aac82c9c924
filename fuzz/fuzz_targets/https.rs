//! What servers and configurations say about where and when.

#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::http::{Method, Request};
use keywheel_providers::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(wait) = fuzzing::retry_after(text, Timestamp::UNIX_EPOCH) {
        assert!(wait <= Duration::from_secs(3600), "{wait:?}");
    }
    if let Ok(origin) = fuzzing::parse_origin(text) {
        assert!(origin.starts_with("http://") || origin.starts_with("https://"), "{origin}");
        assert!(!origin.contains(['?', '#']), "{origin}");
    }
    if let Ok(request) = Request::try_new(Method::Get, text, None, Duration::from_secs(1)) {
        assert!(!request.to_string().contains(['?', '#']));
    }
});
