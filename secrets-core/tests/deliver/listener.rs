//! Listens to the trace events that every step of a write emits.
//!
//! There is one subscriber for the whole process, installed before anything is written, and each thread has its own listener: where
//! subscribers come and go, an event that another thread emits first can be cached as wanted by nobody.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Runs `write`, and `act` in the same thread right after every event of `step`.
pub(crate) fn at_step<T>(step: u64, act: impl FnMut() + 'static, write: impl FnOnce() -> T) -> T {
    install();
    LISTENER.set(Some((step, Box::new(act))));
    let written = write();
    LISTENER.set(None);
    written
}

/// Makes the process listen; has to come before the first write of any thread.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Steps).unwrap());
}

type Listener = (u64, Box<dyn FnMut()>);

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

struct Steps;

impl Visit for Steps {
    fn record_u64(&mut self, field: &Field, value: u64) {
        LISTENER.with_borrow_mut(|listener| match listener {
            Some((step, act)) if field.name() == "step" && value == *step => act(),
            _ => {}
        });
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Subscriber for Steps {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "keywheel_core::deliver"
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Self);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
