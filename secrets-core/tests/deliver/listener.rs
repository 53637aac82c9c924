//! Listens to the trace events that every step of a write emits.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Does something right after every event of one step, in the thread that writes.
pub(crate) struct AtStep {
    step: u64,
    act: Box<dyn Fn() + Send + Sync>,
}

impl AtStep {
    pub(crate) fn new(step: u64, act: impl Fn() + Send + Sync + 'static) -> Self {
        Self { step, act: Box::new(act) }
    }
}

impl Visit for &AtStep {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "step" && value == self.step {
            (self.act)();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Subscriber for AtStep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "keywheel_core::deliver"
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
