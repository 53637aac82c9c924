//! What fuzz targets reach: parsers that are nobody else's business, and the place where a server's answer comes in.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::Result;

use crate::{file, https};

/// Parses a source file of that name.
///
/// # Errors
/// As for a read of it.
pub fn parse_file(name: &str, bytes: &[u8]) -> Result<()> {
    file::fuzzing::parse(name, bytes)
}

/// Decrypts a source file.
///
/// # Errors
/// As for a read of it.
pub fn decrypt(encrypted: &[u8], identity_file: &Path) -> Result<()> {
    file::fuzzing::decrypt(encrypted, identity_file)
}

/// Reads the content of an identity file, and says how many there are.
///
/// # Errors
/// Says in words what is wrong.
pub fn read_identities(bytes: &[u8]) -> Result<usize, &'static str> {
    file::fuzzing::read_identities(bytes)
}

/// Reads a header `Retry-After`.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    https::retry_after(text, now)
}

/// Reads the URL of a service.
///
/// # Errors
/// Says in words what is wrong.
pub fn parse_origin(text: &str) -> Result<String, String> {
    https::parse_origin(text, "must be a URL").map(String::from)
}

/// Answers a request for a URL.
type Answer = Box<dyn Fn(&str) -> http::Response<Vec<u8>>>;

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Has every request that this thread sends meanwhile answered by `answer`, and none sent.
pub fn answering<T>(
    answer: impl Fn(&str) -> http::Response<Vec<u8>> + 'static,
    meanwhile: impl FnOnce() -> T,
) -> T {
    ANSWER.set(Some(Box::new(answer)));
    let outcome = meanwhile();
    ANSWER.set(None);
    outcome
}

/// Returns the answer to a request, if this thread has its requests answered.
pub(crate) fn answer(request: &reqwest::Request) -> Option<reqwest::Response> {
    ANSWER.with_borrow(|answer| answer.as_ref().map(|answer| answer(request.url().as_str()).into()))
}
