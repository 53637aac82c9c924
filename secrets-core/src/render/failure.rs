//! Turns minijinja's errors into ours, which quote no value.
//!
//! minijinja quotes operands, keys and arguments in the detail of an error. So of an error in rendering only its kind and its line are
//! taken, and sentences of our own.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::render::context::Notes;
use crate::render::engine;

/// A sentence of ours, on its way through minijinja. It is a constant, so that no value can be in it.
#[derive(Debug)]
struct Said(&'static str);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Said {}

/// Makes an error that ends the rendering with `sentence`.
pub(super) fn said(sentence: &'static str) -> minijinja::Error {
    minijinja::Error::from(minijinja::ErrorKind::InvalidOperation).with_source(Said(sentence))
}

/// Returns the error of a source that does not parse. No secret was there yet, so that minijinja's detail is of the source alone.
pub(super) fn of_syntax(name: &str, error: &minijinja::Error) -> Error {
    let reason = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    Error::config("parse template", reason).with("template", name).with("line", error.line().unwrap_or(1))
}

/// Returns the error of a rendering that failed.
pub(super) fn of_rendering(
    name: &str,
    source: &str,
    error: &minijinja::Error,
    notes: &Notes,
    is_full: bool,
) -> Error {
    let line = error.line().unwrap_or(1);
    let reason = if is_full {
        engine::TOO_LARGE.into()
    } else if let Some(sentence) = sentence_in(error) {
        sentence.into()
    } else {
        match error.kind() {
            minijinja::ErrorKind::UndefinedError => notes
                .missing(tags_at(source, line))
                .unwrap_or_else(|| "undefined value: what the expression names is not there".into()),
            minijinja::ErrorKind::OutOfFuel => "it takes more steps than a template may".into(),
            kind => format!("{kind} (the detail is left out, since it can quote a value)"),
        }
    };
    Error::new(ErrorKind::Render, "render", reason).with("template", name).with("line", line)
}

fn sentence_in(error: &minijinja::Error) -> Option<&'static str> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(Said(sentence)) = error.downcast_ref() {
            return Some(sentence);
        }
        source = error.source();
    }
    None
}

/// Returns the text from the beginning of a line up to the end of the tag that is open at the line's end.
fn tags_at(source: &str, line: usize) -> &str {
    let start = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let text = &source[start..];
    let end = text.find('\n').unwrap_or(text.len());
    let tag_end = ["}}", "%}"].iter().filter_map(|mark| text[end..].find(mark)).min();
    &text[..end + tag_end.unwrap_or(0)]
}
