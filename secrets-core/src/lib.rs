//! Keywheel's engine.

pub mod client;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod docs;
pub mod engine;
pub mod environment;
pub mod error;
pub mod fingerprint;
pub mod identity;
pub mod keeper;
pub mod layer;
pub mod lease;
pub mod memory;
pub mod notify;
pub mod payload;
pub mod provider;
pub mod quote;
pub mod reference;
pub mod registry;
pub mod render;
pub mod schedule;
pub mod secret;
pub mod value;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use crate::clock::Clock;
pub use crate::deliver::AtomicDir;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::provider::Provider;
pub use crate::reference::SecretRef;
pub use crate::secret::{Secret, SecretValue, Version};
pub use crate::value::Value;
