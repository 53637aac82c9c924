//! Spans, for those who collect traces: what was done, on what, for how long, and whether it failed; never a value.
//!
//! | Span | Of what | Attributes |
//! |---|---|---|
//! | `fetch` | one call of a provider for a secret | `step`, `provider`, `reference` |
//! | `change` | a delivery's way from one generation to the next, until it is committed or rolled back | `delivery` |
//! | `prepare`, `tell`, `probe`, `revert` | a step of that, in the same trace | `delivery` |
//! | `rotate` | a step of a rotation | `rotation`, `step` |
//!
//! One that failed has `error.type`, the kind of the error. All have the target [`TARGET`]: a subscriber that does not ask for that pays nothing for them, and
//! shows none of them in its log.

use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use crate::error::{Error, Result};
use crate::reference::SecretRef;

/// The target of all spans.
pub const TARGET: &str = "trace::keywheel";

pub(crate) fn fetch(step: &'static str, reference: &SecretRef) -> Span {
    info_span!(
        target: TARGET, "fetch", otel.kind = "client", step, provider = reference.provider(), %reference,
        otel.status_code = Empty, error.type = Empty
    )
}

pub(crate) fn change(delivery: &str) -> Span {
    info_span!(
        target: TARGET, parent: None, "change", delivery, otel.status_code = Empty, error.type = Empty
    )
}

/// A step of a change.
pub(crate) fn step(change: Option<&Span>, step: &'static str, delivery: &str) -> Span {
    info_span!(
        target: TARGET, parent: change.and_then(Span::id), "step", otel.name = step, delivery, otel.status_code = Empty, error.type = Empty
    )
}

pub(crate) fn rotate(rotation: &str, step: &'static str) -> Span {
    info_span!(
        target: TARGET, parent: None, "rotate", rotation, step, otel.status_code = Empty, error.type = Empty
    )
}

/// Has `work` be what the span is about.
pub(crate) async fn within<T>(span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
    let result = work.instrument(span.clone()).await;
    if let Err(error) = &result {
        failed(&span, error);
    }
    result
}

/// Notes in the span that it failed.
pub(crate) fn failed(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.kind().as_str());
}
